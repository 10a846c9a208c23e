"""Runs whose spec cannot be read: shown as such, compared with nothing, and fatal for no other."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from made_store import bench
from seeding import complete, evaluated, evaluation, plan

from emabench.errors import SpecError
from emabench.spec import ExperimentSpec
from emabench.spec.experiment import unreadable
from emabench.store import RunStore

TESTS = Path(__file__).parents[1]
DAMAGED = [
    {"pretrain": 5},
    5,
    None,
    [],
    {"pretrain": None},
    {"pretrain": {"seed": "a"}},
    {"pretrain": {"seed": [1]}},
    {"pretrain": {"seed": None}},
    {"pretrain": {"method": {"name": ["moco"]}}},
    {"pretrain": {"ema": {"scope": 3}}},
    {"evaluation": {"knn": 7}},
    {"bench": {"arms": 3}},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        points = [(scope, seed) for scope in ("none", "full") for seed in (0, 1)]
        return path, [complete(store, plan(ema_scope=s, seed=i)) for s, i in points]


@pytest.fixture
def runs(made, folder):
    """The ids of the runs of a store that may be harmed."""
    path, ids = made
    shutil.copy(path, "results.db")
    return ids


def damage(run, spec, db="results.db"):
    """Write a spec as a program of another kind could have."""
    of_run = "id = (SELECT experiment_id FROM jobs WHERE id = ?)"
    with closing(sqlite3.connect(db)) as store, store:
        change = f"UPDATE experiments SET spec = ? WHERE {of_run}"
        store.execute(change, (json.dumps(spec), run))


@pytest.mark.parametrize("spec", DAMAGED, ids=str)
def test_no_other_run_suffers(emabench, runs, spec):
    damage(runs[1], spec)
    listed = json.loads(emabench(["list", "--json"]).out)["runs"]
    assert [run["id"] for run in listed] == runs
    assert [len(run["warnings"]) for run in listed] == [0, 1, 0, 0]
    assert "done, unreadable" in emabench(["list"]).out
    compared = emabench(["compare", "--json"])
    assert compared.code == 0, compared.err
    values = json.loads(compared.out)
    assert [(each["id"], each["why"]) for each in values["left_out"]] == [(runs[1], "unreadable")]
    assert values["left_out"][0]["reason"]
    assert "unreadable" in [each["code"] for each in values["cautions"]]
    assert [row["n"] for row in values["rows"]] == [1, 2]
    assert "done, unreadable" in emabench(["show", runs[1]]).out


def test_whatever_is_asked_of_it_has_an_answer(emabench, runs):
    damage(runs[1], {"pretrain": 5})
    with RunStore.open("results.db", mode="write") as store:
        benches = [bench(store, arms=arms) for arms in (2, 3)]
    damage(benches[0], {"pretrain": 5})
    for command in (
        ["show", runs[1], "--json"],
        ["diff", runs[0], runs[1]],
        ["list", "--where", "pretrain.seed=0"],
        ["list", "--where", "precision=bf16"],
        ["du"],
        ["status"],
        ["report", "-o", "page.html"],
        ["report", "--metric", "top1,bench_step_ms", "-o", "page.html"],
        ["compare", "--metric", "top1,bench_step_ms"],
        ["compare", "--bench"],
        ["plot", "pareto", "-o", "pareto.svg"],
    ):
        result = emabench(command)
        assert result.code == 0, (command, result.err)


def test_what_it_left_is_evaluated_by_its_file(emabench, runs):
    damage(runs[1], {"pretrain": 5})
    result = emabench(["eval", runs[1]])
    assert (result.code, "Traceback" in result.err) == (2, False)
    assert "its spec is damaged" in result.err
    assert "emabench eval FILE" in result.err


def test_an_own_evaluation_too(emabench, runs):
    with RunStore.open("results.db", mode="write") as store:
        own = evaluated(store, evaluation(runs[0]))
    damage(own, {"pretrain": 5})
    assert "unreadable" in emabench(["list", "--evaluations"]).out
    assert emabench(["show", runs[0]]).code == 0


def test_an_export_leaves_it_behind(emabench, runs):
    damage(runs[1], {"pretrain": 5})
    result = emabench(["export", "-o", "runs.jsonl"])
    assert (result.code, f"unreadable runs were left out: {runs[1]}" in result.err) == (0, True)
    assert emabench(["import", "runs.jsonl", "--db", "other.db"]).code == 0
    assert emabench(["export", runs[1], "-o", "one.jsonl"]).code == 2


@pytest.mark.parametrize("spec", [each for each in DAMAGED if isinstance(each, dict)], ids=str)
def test_no_bundle_brings_one_in(emabench, runs, spec):
    assert emabench(["export", runs[1], "-o", "runs.jsonl"]).code == 0
    head, line = Path("runs.jsonl").read_text("utf-8").splitlines()
    Path("bad.jsonl").write_text(
        "\n".join([head, json.dumps({**json.loads(line), "spec": spec}), ""]), "utf-8"
    )
    result = emabench(["import", "bad.jsonl", "--db", "other.db"])
    assert result.code == 1, result.out
    assert "line 2 of the bundle is damaged: spec: " in result.err
    assert "hint:" in result.err


def test_specs_of_other_versions_are_read(emabench, runs):
    whole = plan().spec
    pretrain = {**whole["pretrain"], "later": {"on": True}, "epochs": 2}
    del pretrain["optimizer"]
    other = {**whole, "pretrain": pretrain, "sparkle": 1}
    with pytest.raises(SpecError, match="unknown field"):
        ExperimentSpec.parse(other)
    assert unreadable(other) is None
    assert unreadable({**whole, "pretrain": {"epochs": -1}}) is None
    backwards = {"second_view": {"crop_scale": [0.9, 0.1]}}
    assert unreadable({"pretrain": {"augmentation": backwards}}) is None
    damage(runs[1], other)
    assert emabench(["export", runs[1], "-o", "runs.jsonl"]).code == 0
    assert emabench(["import", "runs.jsonl", "--db", "other.db"]).code == 0
    for store in [TESTS.parent / "results.db.example", *TESTS.glob("assets/stores/*.db")]:
        with closing(sqlite3.connect(f"file:{store}?mode=ro&immutable=1", uri=True)) as opened:
            rows = opened.execute("SELECT spec FROM experiments").fetchall()
        assert {unreadable(json.loads(spec)) for (spec,) in rows} == {None}


def test_a_check_names_it(emabench, runs):
    assert emabench(["db", "check"]).code == 0
    damage(runs[1], {"pretrain": 5})
    found = emabench(["db", "check"])
    assert found.code == 1
    assert f"the spec of run {runs[1]} cannot be read: pretrain cannot be of type int" in found.out


@pytest.mark.parametrize("command", [["compare"], ["plot", "pareto", "-o", "x.svg"]])
def test_where_all_are_unreadable_nothing_is_said_of_runs_that_are_not_done(
    emabench, runs, command
):
    for run in runs:
        damage(run, {"pretrain": 5})
    found = emabench(command)
    assert found.code == 3
    assert "4 unreadable left out" in found.err
    assert "is done" not in found.err
    assert "emabench db check" in found.hint
