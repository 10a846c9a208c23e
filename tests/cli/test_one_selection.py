"""Every reader of results is asked the same question, and shows the runs that ``select`` gives."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
from made_store import make_store

from emabench.analysis.selection import Arms, select
from emabench.errors import NotFoundError
from emabench.records import RunQuery, RunRecord
from emabench.report.figures import _sheet
from emabench.report.page.server import Dashboard
from emabench.store import RunStore

QUESTIONS = {
    "all": [],
    "smoke": ["--smoke", "--where", "method=moco"],
    "study": ["--study", "projector-vs-full"],
    "profiled": ["--smoke", "--where", "profile=true"],
}
KINDS = {
    "profiled": "profiled",
    "smoke": "smoke",
    "profiled smoke": "smoke",
    "failed": "failed",
    "failed evaluation": "failed",
    "running": "running",
    "queued": "queued",
    "waiting": "queued",
    "cancelled": "cancelled",
    "repeated": "repeated",
    "repeat": None,
    "collapsed": None,
}
"""Kinds of runs with why they are left out; None takes part."""
NO_RUNS = ("evaluation", "evaluation of a file", "queued evaluation", "bench", "queued bench")


@dataclass(frozen=True)
class Made:
    """A made store: its file, the ids of its kinds of runs, and all its runs."""

    path: Path
    ids: dict[str, str]
    runs: list[RunRecord]

    def fitting(self, question: str) -> list[RunRecord]:
        """Return the runs that the conditions of a question let through."""
        with RunStore.open(str(self.path), mode="read") as store:
            study = "projector-vs-full" if question == "study" else None
            where = {"smoke": {"pretrain.method.name": "moco"}, "profiled": {"profile": True}}
            return store.runs(RunQuery(where.get(question, {}), study=study, smoke=True))

    def arms(self, question: str) -> Arms:
        """Return what ``select`` answers."""
        return select(self.fitting(question), smoke="--smoke" in QUESTIONS[question])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "made.db"
    ids = make_store(path)
    with RunStore.open(str(path), mode="read") as store:
        return Made(path, ids, store.runs(RunQuery(smoke=True)))


@pytest.fixture
def ask(emabench, made, folder, monkeypatch):
    """Runs a command on a copy of the made store, and returns its JSON; pictures are not drawn."""
    shutil.copy(made.path, folder / "results.db")
    monkeypatch.setattr(_sheet, "save_figure", lambda figure, path: None)

    def call(*words):
        result = emabench([*words, "--json"])
        assert result.code in (0, 5), result.err
        return json.loads(result.out)

    return call


def draw(ask, kind, *words):
    """Return the JSON of a picture."""
    return ask("plot", kind, "-o", "x.png", *words)


def known(arm, *readings):
    """Return the runs of an arm that have all readings."""
    return [
        run
        for run in arm.runs.values()
        if all(run.results.get(r, run.cost.as_dict().get(r)) is not None for r in readings)
    ]


def counted(arms, *readings):
    """Return the number of runs with some readings, by the label of the arm, in order."""
    counts = {arm.label: len(known(arm, *readings)) for arm in arms.arms}
    return [(label, n) for label, n in counts.items() if n]


def test_the_answer_is_right_for_every_kind_of_run(made):
    arms = made.arms("all")
    why = {each.run.id: each.why for each in arms.left_out}
    assert {kind: why.get(made.ids[kind]) for kind in KINDS} == KINDS
    assert {run.id for run in arms.runs} | why.keys() == {run.id for run in made.runs}
    assert not {run.id for run in arms.runs} & why.keys()
    assert not {run.id for run in made.runs} & {made.ids[kind] for kind in NO_RUNS}
    for option in ("smoke", "profiled", "unfinished"):
        more = select(made.runs, **{"smoke": False, option: True})
        reasons = {each.why for each in more.left_out}
        assert (
            reasons
            == {
                "smoke": set(why.values()) - {"smoke"},
                "profiled": set(why.values()) - {"profiled"},
                "unfinished": {"smoke", "profiled", "repeated"},
            }[option]
        )
    whole = select(made.runs, smoke=True, profiled=True, unfinished=True, repeated=True)
    assert (list(whole.runs), whole.left_out) == (made.runs, ())


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "profiled"])
def test_tables_and_pictures_show_what_select_gives(ask, made, question):
    arms, words = made.arms(question), QUESTIONS[question]
    shown = [(arm.label, {seed: run.id for seed, run in arm.runs.items()}) for arm in arms.arms]

    compared = ask("compare", "--fail-if", "top1:-1", *words)
    rows = compared["rows"]
    assert [(r["label"], {x["seed"]: x["id"] for x in r["runs"]}) for r in rows] == shown
    assert [(each["id"], each["why"]) for each in compared["left_out"]] == [
        (each.run.id, each.why) for each in arms.left_out
    ]
    assert compared["notes"][: len(arms.notes)] == list(arms.notes)
    gated = [row["label"] for row in rows if not row["is_baseline"]]
    assert [each["label"] for each in compared["gate"]] == gated

    pictures = {kind: draw(ask, kind, *words) for kind in ("pareto", "cost", "curves", "seeds")}
    pictures |= {kind: draw(ask, kind, *words) for kind in ("stability", "blocks", "forest")}
    for picture in pictures.values():
        assert picture["notes"][: len(arms.notes)] == list(arms.notes)
        assert f" {len(arms.runs)} runs " in picture["source"]
    points = pictures["pareto"]["points"]
    assert [(p["label"], p["cost"]["n"]) for p in points] == counted(arms, "top1", "step_ms")
    changes = [arm for row in pictures["forest"]["rows"] for arm in row["arms"]]
    paired = {row["label"]: row["metrics"]["top1"].get("baseline") for row in rows}
    assert {arm["label"]: arm["changes"]["top1"] for arm in changes} == {
        label: {"mean": each["value"], "low": each["low"], "high": each["high"], "n": each["n"]}
        for label, each in paired.items()
        if each is not None
    }
    bars = pictures["cost"]["bars"]
    assert [(bar["label"], bar["n"]) for bar in bars] == counted(arms)
    curves = pictures["curves"]["courses"]
    lacking = 1 if made.ids["without gradients"] in {run.id for run in arms.runs} else 0
    assert [curve["label"] for curve in curves] == [arm.label for arm in arms.arms]
    assert sum(curve["n"] for curve in curves) == len(arms.runs) - lacking
    seeds = pictures["seeds"]["arms"]
    assert [(arm["label"], arm["values"]) for arm in seeds] == [
        (arm.label, {str(seed): run.results["top1"] for seed, run in arm.runs.items()})
        for arm in arms.arms
    ]
    panels = pictures["blocks"]["panels"]
    means = {e["mean"] for p in panels for k, v in p.items() if k != "title" for e in v.values()}
    assert sorted(means) == pytest.approx(
        sorted({fmean(run.results["top1"] for run in arm.runs.values()) for arm in arms.arms})
    )

    table = ask("stability", *words)
    for fluctuations in (pictures["stability"], table):
        assert fluctuations["notes"][: len(arms.notes)] == list(arms.notes)
        assert [
            (arm["label"], {each["seed"]: each["id"] for each in arm["runs"]})
            for arm in fluctuations["arms"]
        ] == [
            (label, {s: i for s, i in runs.items() if i != made.ids["without gradients"]})
            for label, runs in shown
        ]


@pytest.mark.parametrize("question", ["all", "smoke"])
def test_pages_show_what_select_gives(ask, emabench, made, question, monkeypatch):
    pages = []
    monkeypatch.setattr(
        Dashboard, "serve_forever", lambda self, **_: pages.append(self.source.page().html)
    )
    ask("report", "-o", "x.html", *QUESTIONS[question])
    before = signal.getsignal(signal.SIGTERM)
    assert emabench(["dashboard", "--port", "0", *QUESTIONS[question]]).code == 0
    signal.signal(signal.SIGTERM, before)
    arms = made.arms(question)
    left_out = {each.run.id: each.why for each in arms.left_out}
    for page in (Path("x.html").read_text("utf-8"), *pages):
        assert keys(page, "arms") == [arm.label for arm in arms.arms]
        assert keys(page, "runs") == [*(run.id for run in arms.runs), *left_out]
        assert keys(page, "left-out") == list(left_out)
        assert re.findall(r"</a></td><td>([\w ]+)</td>", table_of(page, "left-out")) == list(
            left_out.values()
        )
        assert all(f"<li>{note}</li>" in page for note in arms.notes)
    assert len(pages) == 1


def test_the_list_shows_every_run_that_is_no_smoke_run(ask, emabench, made):
    for question, words in QUESTIONS.items():
        smoke = "--smoke" in words
        arms = select(
            made.fitting(question), smoke=smoke, profiled=True, unfinished=True, repeated=True
        )
        result = emabench(["list", "--json", *words])
        assert [run["id"] for run in json.loads(result.out)["runs"]] == [r.id for r in arms.runs]
        hidden = f"{len(arms.left_out)} smoke run"
        assert (hidden in result.err) == bool(arms.left_out)


def test_runs_that_are_named_are_shown(ask, made):
    kinds = [kind for kind in KINDS if KINDS[kind] is not None] + ["repeat", "collapsed"]
    named = [made.ids[kind] for kind in kinds]
    by_id = {run.id: run for run in made.runs}
    records = [by_id[each] for each in named]
    arms = select(records, smoke=True, profiled=True)
    drawn = draw(ask, "seeds", *named)
    assert [(arm["label"], list(map(int, arm["values"]))) for arm in drawn["arms"]] == [
        (arm.label, list(arm.runs)) for arm in arms.arms
    ]
    assert drawn["notes"] == list(arms.notes)
    arms = select(records, smoke=True, profiled=True, unfinished=True)
    watched = [run for run in arms.runs if run.state.value not in ("queued", "cancelled")]
    waiting = made.ids["waiting"]
    found = {each["id"] for arm in ask("stability", *named)["arms"] for each in arm["runs"]}
    assert found == {run.id for run in watched} | {waiting}
    for kind in (*KINDS, *NO_RUNS):
        diff = ask("diff", made.ids["done"], made.ids[kind])
        assert (diff["first"], diff["second"]) == (made.ids["done"], made.ids[kind])


@pytest.mark.parametrize(
    "words",
    [
        ["compare"],
        ["stability"],
        ["report", "-o", "x.html"],
        *(
            ["plot", kind, "-o", "x.png"]
            for kind in ("pareto", "cost", "curves", "seeds", "stability", "blocks", "forest")
        ),
    ],
)
def test_profiled_runs_alone_are_nothing_to_show(ask, emabench, made, words):
    with pytest.raises(NotFoundError) as caught:
        select(made.fitting("profiled"), smoke=True, to="draw")
    result = emabench([*words, *QUESTIONS["profiled"]])
    assert result.code == 3
    assert "only profiled runs left out" in caught.value.message
    assert "profiled" in result.err


def table_of(page, name):
    """Return a table of a page as text."""
    return page.partition(f'<table id="{name}"')[2].partition("</table>")[0]


def keys(page, name):
    """Return the keys of the lines of a table of a page."""
    return re.findall(r'<tr data-key="([^"]+)"', table_of(page, name))
