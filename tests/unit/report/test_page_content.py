"""What stands on a page, and that nothing a user typed becomes markup."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sqlite3
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from seeding import complete, plan
from studied import study

from emabench.analysis.comparison import compare
from emabench.analysis.factor import Factor
from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.metrics import parse_metrics
from emabench.errors import NotFoundError
from emabench.records import RunQuery, RunValues
from emabench.report.page.content import Request, page_content, wanted_points
from emabench.report.page.render import render_page
from emabench.spec.study import load_study
from emabench.store import RunStore

EVIL = "</script><script>alert(1)</script><!--"


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def content_of(store, metrics="top1,throughput", *, by="ema_scope", request=None):
    chosen, request = parse_metrics(metrics), request or Request("results.db")
    stored = store.read(RunQuery(), wanted_values(chosen, wanted_points(chosen, request.quantity)))
    measured = MetricValues.of(stored.values)
    comparison = compare(stored.runs, chosen, by=Factor.parse(by), measured=measured)
    return page_content(comparison, request, stored.values), comparison


class Elements(HTMLParser):
    """Counts elements, and keeps what stands in the scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside = [], {}
        self._tag = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._tag = tag if tag in ("script", "style") else None
        if self._tag:
            self.inside.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        self._tag = None

    def handle_data(self, data):
        if self._tag:
            self.inside[self._tag][-1] += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.found)


def test_what_users_type_stays_text(store):
    for label in ("none", "full"):
        complete(store, plan(ema_scope=label, pretrain__backbone__name=EVIL))
        complete(store, plan(ema_scope=label, pretrain__backbone__name=EVIL + "2"))
    content, _ = content_of(store, request=Request(f"{EVIL}.db", (EVIL,), ("emabench", EVIL)))
    text = render_page(content)
    page = Elements(text)
    assert page.count("script") == 2
    assert "alert(1)" not in page.inside["script"][1]
    assert "<!--" not in page.inside["script"][0]
    figures = json.loads(page.inside["script"][0])["groups"]
    assert any(EVIL[:20] in series["name"] for series in figures["pareto"][0]["series"])


def test_the_policy_names_exactly_the_style_and_the_script_that_are_there(store):
    study(store, arms=2, seeds=1)
    text = render_page(content_of(store)[0])
    page = Elements(text)
    policy = next(
        attrs["content"]
        for tag, attrs in page.found
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    for part in (page.inside["style"][0], page.inside["script"][1]):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    for _, attrs in page.found:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        for name in ("src", "href"):
            assert attrs.get(name, "#")[:1] == "#" or attrs[name] == "data:,"


def test_every_run_is_there_with_what_sets_it_apart(store):
    ids = study(store, arms=3, seeds=2)
    queued = store.add_run(plan(method="byol", seed=5)).id
    content, _ = content_of(store)
    assert {view.id for view in content.views} == {*ids, queued}
    first = content.views[0]
    assert first.command == "emabench run --method moco --ema-scope none --seed 0"
    assert ("pretrain.seed", "0") in first.spec
    common = dict(content.common)
    assert "pretrain.seed" not in common
    assert common["pretrain.epochs"] == str(store.run(ids[0]).spec["pretrain"]["epochs"])
    assert {title for title, _ in first.sections} >= {"results", "environment"}
    assert [row.key for row in content.left_out.rows] == [queued]
    text = render_page(content)
    anchors = set(re.findall(r'href="#([^"]+)"', text))
    names = set(re.findall(r'id="([^"]+)"', text))
    assert anchors <= names


def test_a_study_of_the_package_brings_its_question(store):
    study(store, arms=3, seeds=2)
    spec = load_study("gradient-stability").spec
    content, _ = content_of(store, request=Request("results.db", study=spec))
    facts = dict(content.facts)
    assert content.title == spec.title
    assert (facts["claim"], facts["refuted by"]) == (spec.claim, spec.refuted_by)
    assert content.question == spec.question


def test_what_the_answer_rests_on_stands_first_and_the_rest_can_be_spared(store):
    study(store, arms=3, seeds=3)
    content, _ = content_of(store, "knn_top1,top1,ema_bytes,throughput")
    first = ["arm", "n", "knn_top1 [%]", "knn_top1 - full", "ema_bytes [MiB]", "ema_bytes / full"]
    shown = [h for place, h in enumerate(content.arms.headers) if place not in content.arms.spare]
    assert shown == [*first, "cheaper, not worse"]
    assert list(content.arms.headers[: len(shown)]) == shown
    assert {"top1 [%]", "throughput / full", "seeds"} <= set(content.arms.headers)


def test_a_comparison_without_a_cost_shows_its_first_metrics(store):
    study(store, arms=3, seeds=3)
    arms = content_of(store, "throughput,total_s,ema_bytes")[0].arms
    shown = [header for place, header in enumerate(arms.headers) if place not in arms.spare]
    assert [header.split()[0] for header in shown[:6]] == [
        "arm",
        "n",
        *("throughput", "throughput"),
        *("total_s", "total_s"),
    ]


def test_verdicts_begin_with_yes_and_the_baselines_share_a_line(store):
    study(store, arms=5, seeds=3, methods=("moco", "simclr"))
    content, comparison = content_of(store)
    answers = [each.answer for each in content.verdicts]
    assert answers == sorted(answers, key=["yes", "no", "undecided", "", "baseline"].index)
    told = [row.headline.answer for row in comparison.rows if row.headline]
    assert told != sorted(told, key=["yes", "no", "undecided"].index)
    assert answers.count("baseline") == 1
    assert content.verdicts[-1].label == "moco full, simclr full"
    assert len(answers) == len(comparison.rows) - 1
    assert content.tally == ", ".join(
        f"{answers.count(each)} {each}" for each in ("yes", "no", "undecided") if each in answers
    )
    text = render_page(content)
    places = [
        text.index(f'<section id="{name}"') for name in ("verdicts", "warnings", "comparison")
    ]
    assert places == sorted(places)


def test_many_arms_are_told_how_to_become_fewer(store):
    study(store, arms=5, seeds=1, methods=("moco", "simclr", "byol"))
    assert "--where method=byol" in content_of(store)[0].crowd
    assert "--where method=byol" in render_page(content_of(store)[0])


def test_there_is_a_picture_of_all_that_is_known_and_of_nothing_else(store):
    complete(store, plan(ema_scope="none"), throughput=None)
    complete(store, plan(ema_scope="full"), throughput=None)
    content, _ = content_of(store, "top1,ema_bytes")
    kinds = [group.key for group in content.groups]
    assert "stability" not in kinds
    assert "seeds" in kinds
    study(store, arms=3, seeds=2)
    whole, _ = content_of(store)
    kinds = {group.key for group in whole.groups}
    assert kinds == {"pareto", "forest", "curves", "cost", "seeds", "blocks", "stability"}


def test_another_factor_has_arms_of_its_own(store):
    for name in ("old", "new"):
        for seed in range(2):
            complete(store, plan(ema_scope="full", seed=seed, name=name), force=True)
    content, comparison = content_of(store, by="name")
    assert len(content.views) == len({view.id for view in content.views}) == 4
    seeds = next(group for group in content.groups if group.key == "seeds").figures[0]
    names = [name.partition(" (n=")[0] for name in seeds["y"]["names"]]
    assert names == [row.label for row in comparison.rows]


def test_why_there_is_no_comparison_is_said_in_its_place(store):
    error = NotFoundError("nothing to compare", hint="run <something>")
    spec = load_study("gradient-stability").spec
    request = Request("results.db", study=spec)
    content = page_content(error, request, RunValues(), queue=store.queue.snapshot(limit=1))
    text = render_page(content)
    assert all(html.escape(fact, quote=False) in text for fact in (spec.claim, spec.refuted_by))
    assert "nothing to compare" in text
    assert "run &lt;something&gt;" in text
    assert "0 running, 0 queued" in text


def test_long_curves_are_thinned_and_a_run_has_its_own(store):
    ids = study(store, arms=2, seeds=1, epochs=500)
    content, _ = content_of(store)
    curve = next(group for group in content.groups if group.key == "curves").figures[0]
    for series in curve["series"]:
        epochs = [point["x"] for point in series["points"]]
        assert (epochs[0], epochs[-1]) == (1, 500)
        assert len(epochs) <= 60
    assert set(content.curves) == set(ids)
    epochs, losses = content.curves[ids[0]]["loss"]
    assert (epochs[0], epochs[-1], losses[0]) == (1, 500, 5.0)
    assert len(epochs) == len(losses) <= 60
    assert not any(":" in name for name in content.curves[ids[0]])


def test_what_a_page_cannot_show_is_written_out(store):
    study(store)
    content, _ = content_of(store)
    page = render_page(replace(content, notes=("a\ud800b", "x\u202ey", "<b>")))
    assert page.encode("utf-8")
    assert "\u202e" not in page
    assert "\\ud800" in page
    assert "x\\u202ey" in page
    assert "&lt;b&gt;" in page


def test_a_damaged_run_hides_nothing_that_the_others_have_in_common(store):
    for scope in ("none", "full"):
        complete(store, plan(ema_scope=scope))
    before, _ = content_of(store)
    broken = complete(store, plan(ema_scope="projector"))
    with sqlite3.connect("results.db") as database:
        database.execute(
            "UPDATE experiments SET spec = '{\"pretrain\": 5}' WHERE id = "
            "(SELECT experiment_id FROM jobs WHERE id = ?)",
            (broken,),
        )
    content, _ = content_of(store)
    assert content.common == before.common
    assert render_page(content).count("data-whole id=") == 2
