"""The page of 35 arms in a real browser: what matters is seen at once, the rest by choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emabench.cli.app.main import run

pytestmark = pytest.mark.external

STORE = Path(__file__).parents[2] / "results.db.example"
FIRST_STUDY = ["--where", "created<2026-11-27"]
ESSENTIAL = [
    "arm",
    "n",
    "top1 [%]",
    "top1 - full",
    "throughput [images/s]",
    "throughput / full",
    "cheaper, not worse",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    asked = ["--metric", "top1,knn_top1,throughput", "--margin", "top1=1", *FIRST_STUDY]
    assert run(["report", *asked, "--db", str(STORE), "-o", str(path)]) == 0
    return path.as_uri()


def shown_headers(page):
    return page.locator("#arms thead th:visible").all_inner_texts()


def size_of(page, selector):
    return page.eval_on_selector(selector, "e => [e.scrollWidth, e.clientWidth]")


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_the_page_never_scrolls_sideways_and_marks_lie_apart(report, open_page, width):
    page = open_page(report, width=width).page
    page.wait_for_selector(".plot svg[tabindex]")
    page.locator("#columns-arms summary").click()
    page.locator("#columns-arms input").first.check()
    page.locator("#warnings details summary").first.click()
    page.locator("#runs tbody tr[data-key]").nth(3).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The boxes of slanted names overlap where the names do not: they are held apart by their feet.
    overlapping = page.evaluate(
        """() => [...document.querySelectorAll('.plot svg[tabindex]')].flatMap(svg => {
          const boxes = [...svg.querySelectorAll('text')].map(t => {
            const {left, right, top, bottom} = t.getBoundingClientRect();
            const slanted = t.getAttribute('transform')?.startsWith('rotate(-45');
            return {text: t.textContent, left: slanted ? right - 14 : left, right, top, bottom};
          });
          return boxes.flatMap((a, k) => boxes.slice(k + 1).filter(b =>
            Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
            .map(b => [a.text, b.text]));
        })"""
    )
    assert overlapping == []


def test_what_the_answer_rests_on_is_seen_without_scrolling(report, open_page):
    page = open_page(report, width=1280).page
    headers = [text.split("↕")[0].strip() for text in shown_headers(page)]
    assert headers == ESSENTIAL
    scrolled, room = size_of(page, ".wide:has(#arms)")
    assert scrolled <= room


def test_other_columns_are_shown_by_choice(report, open_page):
    page = open_page(report, width=1280).page
    page.locator("#columns-arms summary").click()
    page.locator("#columns-arms label", has_text="knn_top1 [%]").locator("input").check()
    assert len(shown_headers(page)) == len(ESSENTIAL) + 1
    page.locator("#columns-arms label", has_text="throughput [").locator("input").uncheck()
    assert not any(text.startswith("throughput [") for text in shown_headers(page))
    page.locator("#columns-arms input").first.check()
    everything = page.locator("#arms thead th").count()
    assert len(shown_headers(page)) == everything > len(ESSENTIAL) + 4
    assert page.locator("#arms tbody tr").first.locator("td:visible").count() == everything


def test_verdicts_come_first_and_warnings_are_grouped(report, open_page):
    page = open_page(report, width=1280).page
    tops = [
        page.locator(f"#{name}").bounding_box()["y"]
        for name in ("verdicts", "warnings", "comparison", "charts", "every-run")
    ]
    assert tops == sorted(tops)
    answers = page.locator("#verdicts .answer").all_inner_texts()
    assert answers == sorted(answers, key=["yes", "no", "undecided", "baseline"].index)
    assert page.locator("#verdicts .tally").inner_text() == (
        f"{answers.count('yes')} yes, {answers.count('no')} no, "
        f"{answers.count('undecided')} undecided"
    )
    group = page.locator("#warnings-unpaired")
    assert group.locator("summary").inner_text() == "10 arms do not pair up with their baselines"
    assert not group.locator("li").first.is_visible()
    group.locator("summary").click()
    assert group.locator("li:visible").count() == 10
    codes = page.locator("#warnings .cautions > li").count()
    assert codes < int(page.locator("nav a[href='#warnings']").inner_text().split("(")[1][:-1])


def test_the_line_of_a_run_opens_its_curves_and_spec_and_closes_them(report, open_page):
    watched = open_page(report, width=1280)
    page = watched.page
    line = page.locator("#runs tbody tr[data-key]").nth(4)
    key = line.get_attribute("data-key")
    line.locator("td").nth(2).click()
    below = page.locator(f"#runs tr[data-key='{key}'] + tr.opened")
    recorded = json.loads(page.locator("#data").text_content())["curves"][key]
    assert below.locator(".run-curves svg").count() == len(recorded) >= 3
    assert below.locator(".run-curves h4").all_inner_texts() == list(recorded)
    assert "pretrain.seed" in below.inner_text()
    assert below.locator("pre.command").first.inner_text().startswith("emabench run")
    page.locator("#runs thead button").first.click()
    assert below.count() == 1
    page.fill('input[data-filters="runs"]', "no such run")
    assert not below.is_visible()
    page.fill('input[data-filters="runs"]', "")
    page.locator(f"#runs tr[data-key='{key}'] a").focus()
    page.keyboard.press("Enter")
    assert page.locator("#runs tr.opened").count() == 0
    assert watched.messages == []


def test_an_arm_has_one_colour_and_mark_in_all_charts(report, open_page):
    page = open_page(report, width=1280).page
    page.wait_for_selector(".plot svg[tabindex]")

    def looks(group):
        return dict(
            page.eval_on_selector_all(
                f"[data-group={group}] .legend button",
                "all => all.filter(b => b.querySelector('.solid, .hollow'))"
                ".map(b => [b.textContent, [b.querySelector('g').getAttribute('class'),"
                " b.querySelector('.solid, .hollow').getAttribute('d')]])",
            )
        )

    pareto, curves = looks("pareto"), looks("curves")
    assert len(pareto) == 35
    assert pareto == curves
    assert len(set(map(tuple, pareto.values()))) == 35
    for group in ("cost", "seeds"):
        keys = page.eval_on_selector_all(
            f"[data-group={group}] svg[tabindex] > path.solid",
            "all => all.map(p => p.getAttribute('class').split(' ')[1])",
        )
        assert keys == [colour for colour, _ in pareto.values()]


def test_the_front_reaches_the_edges(report, open_page):
    page = open_page(report, width=1280).page
    page.wait_for_selector("[data-group=pareto] .front")
    front, axis = (
        page.locator(f"[data-group=pareto] svg[tabindex] .{name}").first.bounding_box()
        for name in ("front", "axis")
    )
    assert front["x"] == pytest.approx(axis["x"], abs=3)
    assert front["y"] + front["height"] == pytest.approx(axis["y"] + axis["height"], abs=3)
