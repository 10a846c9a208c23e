"""The report in a real browser: quiet, alone, true, and usable by everybody."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from seeding import complete, plan
from studied import study

from emabench.cli.app.main import run
from emabench.store import RunStore

pytestmark = pytest.mark.external

OPTIONS = ["--metric", "top1,knn_top1,throughput", "--margin", "top1=0.5"]


@pytest.fixture(scope="module")
def folder_of_report(tmp_path_factory):
    """A store with three arms, a name that is markup, a failed run; and its report."""
    folder = tmp_path_factory.mktemp("report")
    db = str(folder / "results.db")
    with RunStore.open(db, mode="write") as store:
        study(store, arms=3, seeds=3)
        complete(store, plan(method="moco", ema_scope="layer4", seed=0, name="</script><b>x"))
        queued = store.add_run(plan(method="moco", ema_scope="full", seed=8))
        claim = store.queue.claim(queued.pretrain_job)
        store.queue.fail(claim, reason="<img src=x onerror=alert(1)> broke", cost=None)
    assert run(["report", *OPTIONS, "--db", db, "-o", str(folder / "report.html")]) == 0
    return folder


@pytest.fixture
def report(folder_of_report, open_page):
    def opened(**options):
        return open_page((folder_of_report / "report.html").as_uri(), **options)

    return opened


@pytest.fixture
def comparison(folder_of_report, capsys):
    capsys.readouterr()
    assert run(["compare", *OPTIONS, "--json", "--db", str(folder_of_report / "results.db")]) == 0
    return json.loads(capsys.readouterr().out)


def shown_rows(page, table):
    return page.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])", "rows => rows.map(row => row.dataset.key)"
    )


def column(page, table, header):
    names = page.eval_on_selector_all(
        f"#{table} thead th", "cells => cells.map(c => c.textContent)"
    )
    place = next(k for k, name in enumerate(names) if name.startswith(header))
    return place, page.locator(f"#{table} thead th").nth(place).locator("button")


def test_it_opens_without_a_word_and_asks_nobody_for_anything(report):
    watched = report()
    watched.page.wait_for_selector(".plot svg")
    watched.page.wait_for_timeout(300)
    assert watched.messages == []
    assert len(watched.requests) == 1
    assert watched.requests[0].startswith("file:")


def test_its_policy_forbids_what_it_does_not_need(report, folder_of_report):
    watched = report()
    outcome = watched.page.evaluate(
        "fetch('http://127.0.0.1:1/x').then(() => 'asked', error => 'refused')"
    )
    assert outcome == "refused"
    assert any("Content Security Policy" in message for message in watched.messages)
    text = (folder_of_report / "report.html").read_text("utf-8")
    assert "http://www.w3.org/2000/svg" in text
    assert text.count("http://") + text.count("https://") == 1


def test_names_of_users_are_text(report):
    page = report().page
    assert page.locator("#main > b").count() == 0
    assert page.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)> broke" in page.locator("#left-out").inner_text()


def test_every_number_of_compare_is_on_the_page(report, comparison):
    page = report().page
    cells = page.eval_on_selector_all(
        "#arms tbody tr",
        "rows => rows.map(r => [r.dataset.key, Object.assign({}, ..."
        "[...r.querySelectorAll('[data-full]')].map(c => JSON.parse(c.dataset.full)))])",
    )
    found = dict(cells)
    assert list(found) == [row["label"] for row in comparison["rows"]]
    checked = 0
    for row in comparison["rows"]:
        own = found[row["label"]]
        assert own["n"] == row["n"]
        for name, cell in row["metrics"].items():
            assert own[f"{name}_mean"] == cell["mean"]
            assert own[f"{name}_sd"] == cell["sd"]
            assert own[f"{name}_values"] == cell["values"]
            paired = cell.get("baseline")
            if paired is None:
                continue
            head = f"{name}_{paired['kind']}"
            assert own[head] == paired["value"]
            for part in ("low", "high", "n"):
                assert own[f"{head}_{part}"] == paired[part]
            for part in ("p", "p_smallest"):
                if f"{name}_{part}" in own:
                    assert own[f"{name}_{part}"] == paired[part]
            assert own.get(f"{name}_verdict") == cell["verdict"]
            checked += 1
    assert checked >= 6
    answers = page.eval_on_selector_all(
        "#verdicts li", "items => items.map(i => i.textContent.replace(/\\s+/g, ' ').trim())"
    )
    for row in comparison["rows"]:
        if row["headline"]:
            words = f"{row['headline']['answer']} {row['label']} {row['headline']['words']}"
            assert words in answers
    warnings = page.locator("#warnings").text_content()
    assert comparison["warnings"]
    assert all(each in warnings for each in comparison["warnings"])
    assert all(each in warnings for each in comparison["notes"])


def test_the_charts_show_the_same_means(report, comparison):
    page = report().page
    figures = json.loads(page.locator("#data").inner_text())["groups"]["pareto"]
    figure = next(f for f in figures if f["title"] == "top1 against throughput")
    means = {s["name"].partition(" (n=")[0]: s["points"][0] for s in figure["series"][:-1]}
    for row in comparison["rows"]:
        at = means[row["label"]]
        assert math.isclose(at["x"], row["metrics"]["throughput"]["mean"], rel_tol=1e-6)
        assert math.isclose(at["y"], row["metrics"]["top1"]["mean"], rel_tol=1e-6)


def test_a_header_sorts_by_the_number_and_not_by_its_text(report, comparison):
    page = report().page
    place, button = column(page, "arms", "throughput [")
    button.click()
    means = {row["label"]: row["metrics"]["throughput"]["mean"] for row in comparison["rows"]}
    assert shown_rows(page, "arms") == sorted(means, key=means.get)
    header = page.locator("#arms thead th").nth(place)
    assert header.get_attribute("aria-sort") == "ascending"
    button.click()
    assert shown_rows(page, "arms") == sorted(means, key=means.get, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"


def test_what_is_unknown_stays_last(report):
    page = report().page
    _, button = column(page, "runs", "top1 [")
    states = "rows => rows.map(r => r.cells[3].textContent)"
    for _ in range(2):
        button.click()
        assert page.eval_on_selector_all("#runs tbody tr", states)[-1] == "failed"


def test_a_word_filters_a_table(report):
    page = report().page
    everybody = len(shown_rows(page, "runs"))
    page.fill('input[data-filters="runs"]', "projector done")
    assert len(shown_rows(page, "runs")) == 3
    assert page.locator('[data-counts="runs"]').inner_text() == f"3 of {everybody}"
    page.fill('input[data-filters="runs"]', "nothing like it")
    assert shown_rows(page, "runs") == []
    page.fill('input[data-filters="runs"]', "")
    assert len(shown_rows(page, "runs")) == everybody


def test_a_mark_tells_its_numbers_to_the_pointer(report, comparison):
    page = report().page
    plot = page.locator('[data-group="pareto"] div.plot')
    plot.scroll_into_view_if_needed()
    mark = plot.locator("svg[tabindex] path.solid").first.bounding_box()
    page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    tip = plot.locator(".tip")
    tip.wait_for(state="visible")
    lines = tip.inner_text().splitlines()
    label = lines[0].partition(" (n=")[0]
    row = next(row for row in comparison["rows"] if row["label"] == label)
    value = float(lines[2].partition(": ")[2].partition(" [")[0])
    assert math.isclose(value, row["metrics"]["top1"]["mean"], rel_tol=1e-4)


def test_every_run_has_its_spec_environment_and_command(report, folder_of_report):
    page = report().page
    link = page.locator("#runs tbody a").first
    run_id = link.inner_text()
    link.click()
    details = page.locator(f"#run-{run_id}")
    page.locator(f"#run-{run_id}[open]").wait_for()
    text = details.inner_text()
    assert "emabench run --method moco --ema-scope none --seed 0" in text
    assert "Test CPU" in text
    details.locator("[data-whole] summary").click()
    details.locator("[data-whole] pre", has_text="pretrain.epochs").wait_for()
    whole = details.locator("[data-whole] pre").inner_text()
    with RunStore.open(str(folder_of_report / "results.db"), mode="read") as store:
        spec = store.run(run_id).spec
    assert f"pretrain.epochs: {spec['pretrain']['epochs']}" in whole
    assert f"pretrain.ema.scope: {spec['pretrain']['ema']['scope']}" in whole
    assert len(whole.splitlines()) > 50


def test_all_of_it_works_with_the_keyboard_alone(report):
    page = report().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        kind = page.evaluate(
            "(a => a.closest('.plot') && a.tagName === 'svg' ? 'chart'"
            " : a.closest('.legend') ? 'legend'"
            " : a.matches('.sortable th button') ? 'sort' : a.matches('[data-filters]') ? 'filter'"
            " : a.tagName)(document.activeElement)"
        )
        if kind == "sort" and "sort" not in reached:
            page.keyboard.press("Enter")
            assert page.locator("#arms th[aria-sort=ascending]").count() == 1
        if kind == "chart" and "chart" not in reached:
            first = page.locator(".tip:visible").inner_text()
            page.keyboard.press("ArrowRight")
            assert page.locator(".tip:visible").inner_text() != first
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
        if kind == "legend" and "legend" not in reached:
            page.keyboard.press("Space")
            assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "false"
        if kind == "SUMMARY" and "SUMMARY" not in reached:
            page.keyboard.press("Enter")
            assert page.locator("details[open]").count() >= 1
        reached.add(kind)
    assert {"sort", "filter", "chart", "legend", "SELECT", "A", "SUMMARY"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1280])
def test_it_fits_a_narrow_and_a_wide_screen_in_light_and_dark(report, width, scheme):
    watched = report(width=width, color_scheme=scheme)
    page = watched.page
    page.wait_for_selector(".plot svg[tabindex]")
    page.locator("#runs tbody tr[data-key]").first.click()
    page.locator("#runs .run-curves svg").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.eval_on_selector_all(
        "#main *:not(.wide *):not(svg *)",
        "(all, width) => all.filter(e => e.getBoundingClientRect().right > width + 1).length",
        width,
    )
    assert wide == 0
    inside = page.eval_on_selector_all(
        ".plot svg[tabindex] text",
        "texts => texts.filter(t => { const a = t.getBoundingClientRect(),"
        " b = t.closest('svg').getBoundingClientRect();"
        " return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 2; })"
        ".map(t => t.textContent)",
    )
    assert inside == []
    assert watched.messages == []


def luminance(colour):
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_series_stand_out_in_light_and_dark(report, scheme):
    page = report(color_scheme=scheme).page
    page.wait_for_selector(".plot svg[tabindex]")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = luminance(background) < 0.2
    assert is_dark == (scheme == "dark")
    for selector in ("h1", ".source", "dd", "#arms td", "a", ".answer.no, .answer.undecided"):
        colour = page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
        assert contrast(colour, background) >= 4.5, selector
    colours = page.evaluate(
        "Array.from({length: 12}, (_, k) => { const g = document.createElement('i');"
        " g.className = `s${k}`; document.body.append(g); return getComputedStyle(g).color; })"
    )
    for place, colour in enumerate(colours):
        assert contrast(colour, background) >= 2.9, f"s{place}"


def test_without_scripts_the_tables_are_there(report, comparison):
    page = report(java_script_enabled=False).page
    assert page.locator("#arms tbody tr").count() == len(comparison["rows"])
    assert page.locator("noscript").count() == 1


def test_a_report_is_small(folder_of_report):
    assert Path(folder_of_report / "report.html").stat().st_size < 250_000
