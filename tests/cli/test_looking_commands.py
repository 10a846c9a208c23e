"""Looking on the command line: planned looks, looks at any time, and what is said of both."""

import json
from dataclasses import replace

import pytest
from seeding import complete, plan

from emabench.analysis.looking.looks import plan_looks
from emabench.records import RunQuery
from emabench.store import RunStore

TERMS = {
    "metrics": ["top1"],
    "margin": {"top1": 1.0},
    "by": "ema_scope",
    "baseline": "none",
    "questions": 1,
}
GAPS = (0.0, 0.2, -0.2, 0.1, -0.1, 0.05, 9.0)


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


@pytest.fixture
def planned(store):
    """Seven pairs of a study of one's own that looks at 5 and 8."""
    looks = plan_looks((5, 8))
    store.keep_plan("mine", smoke=False, pairs=(5, 8), levels=looks.levels, terms=TERMS)
    for seed, gap in enumerate(GAPS):
        for scope, top1 in (("none", 60.0), ("full", 60.0 + gap)):
            run = plan(ema_scope=scope, seed=seed)
            complete(store, replace(run, study="mine"), top1=top1, images=9000)
    return store


def cells(answer):
    (row,) = (row for row in answer["rows"] if row["reference"] is not None)
    return row["metrics"]["top1"]


def test_a_study_that_planned_its_looks_is_compared_at_the_look_it_has_reached(planned, emabench):
    result = emabench(["compare", "--study", "mine", "--json"])
    answer = json.loads(result.out)
    cell = cells(answer)
    assert [each["name"] for each in answer["metrics"]] == ["top1"]
    assert (answer["interval"], answer["looks"]["pairs"]) == ("looks", [5, 8])
    assert cell["baseline"]["look"] == {
        **{"number": 1, "of": 2, "pairs": 5, "following": 8, "there": 7},
        "level": answer["looks"]["levels"][0],
    }
    # Metric and margin of the plan, and the five first pairs alone: the seventh would spoil it.
    assert (cell["baseline"]["n"], cell["verdict"]) == (5, "equivalent")
    assert cell["baseline"]["seeds"] == [0, 1, 2, 3, 4]
    assert answer["baseline"] == "none"
    assert "planned looks at 5, 8 pairs; look 1 of 2 at 5 pairs, level 0.0195" in result.err
    assert not [each for each in answer["cautions"] if each["code"] in ("looked", "unplanned")]


def test_a_look_is_recorded_once_for_what_there_is_to_see(planned, emabench):
    for more in (["--across", "method"], []):
        assert emabench(["compare", "--study", "mine", "--metric", "top1", *more]).code == 0
        assert len(planned.looks(["mine"]).taken) == 1
    (look,) = planned.looks(["mine"]).taken
    assert (look.taken_by, look.pairs) == ("compare", 5)
    assert look.verdicts == {"full": {"n": 5, "verdict": "equivalent"}}
    planned.note_look("mine", smoke=True, taken_by="compare", pairs=3, verdicts={})  # of others
    # Whoever takes fixed intervals now is warned, with the study and without it.
    for more in (["--study", "mine", "--interval", "t"], []):
        answer = json.loads(emabench(["compare", "--metric", "top1", *more, "--json"]).out)
        found = {each["code"]: each["message"] for each in answer["cautions"]}
        assert "looked at before, at 5 pairs" in found["looked"]
        assert ("unplanned" in found) == bool(more)
        assert cells(answer)["baseline"]["n"] == 7


def test_intervals_for_any_time_say_what_they_are(planned, emabench):
    wide = emabench(["compare", "--metric", "top1", "--anytime", "--json"])
    fixed = emabench(["compare", "--metric", "top1", "--json"])
    one, two = (cells(json.loads(each.out))["baseline"] for each in (wide, fixed))
    assert one["high"] - one["low"] > 1.5 * (two["high"] - two["low"])
    assert "they are wide, and there is none below 5 pairs" in wide.err
    assert "for a number of pairs that was fixed beforehand" in fixed.err
    few = ["compare", "--metric", "top1", "--anytime", "--where", "seed=0", "--json"]
    assert cells(json.loads(emabench(few).out))["baseline"]["low"] is None
    refused = emabench(["compare", "--anytime", "--interval", "bca"])
    assert (refused.code, "exclude each other" in refused.err) == (2, True)


def test_what_is_asked_wins_over_the_plan_of_ones_own_study(store, emabench):
    terms = {**TERMS, "by": "method", "along": ["epochs"], "baseline": "simclr"}
    looks = plan_looks((2,))
    store.keep_plan("mine", smoke=False, pairs=(2,), levels=looks.levels, terms=terms)
    for seed in range(2):
        for method, scope, epochs in (
            ("simclr", "none", 5),
            ("moco", "none", 6),
            ("moco", "full", 6),
        ):
            run = plan(method=method, ema_scope=scope, epochs=epochs, seed=seed)
            complete(store, replace(run, study="mine"), top1=60 + epochs + seed)
    asked = ["compare", "--study", "mine", "--json"]
    answer = json.loads(emabench(asked).out)
    assert (answer["by"], answer["baseline"]) == ("method", "simclr")
    assert sum(row["reference"] is not None for row in answer["rows"]) == 1
    answer = json.loads(emabench([*asked, "--by", "ema_scope"]).out)
    assert (answer["by"], answer["baseline"]) == ("ema_scope", "full")


def test_another_margin_than_the_planned_one_is_told(planned, emabench):
    asked = ["compare", "--study", "mine", "--metric", "top1", "--margin", "top1=2", "--json"]
    answer = json.loads(emabench(asked).out)
    (told,) = [each["message"] for each in answer["cautions"] if each["code"] == "margin"]
    assert told.endswith("fixed before the runs: top1 2 instead of 1")


def test_margins_are_of_the_metrics_that_a_study_of_ones_own_planned(store, emabench):
    looks = plan_looks((2,))
    terms = {**TERMS, "metrics": ["top1", "knn_top1"]}
    store.keep_plan("mine", smoke=False, pairs=(2,), levels=looks.levels, terms=terms)
    for seed in range(2):
        run = replace(plan(ema_scope="full", seed=seed), study="mine")
        complete(store, run, top1=60.0)
    # The baseline of the plan is still to be trained, as with a study of the package.
    waiting = emabench(["compare", "--study", "mine", "--margin", "knn_top1=2"])
    assert (waiting.code, "the baseline of study mine" in waiting.err) == (3, True)
    for seed in range(2):
        run = replace(plan(ema_scope="none", seed=seed), study="mine")
        complete(store, run, top1=60.0)
    assert emabench(["compare", "--study", "mine", "--margin", "knn_top1=2"]).code == 0
    refused = emabench(["compare", "--study", "mine", "--margin", "throughput=2%"])
    assert (refused.code, "throughput" in refused.err) == (2, True)


def test_verdicts_are_corrected_for_the_number_of_questions(store, emabench):
    shifts = {"full": 0.0, "projector": 0.5, "stem": 0.02, "layer1": -0.02, "layer2": 0.01}
    for seed in range(5):
        for place, (scope, shift) in enumerate(shifts.items()):
            top1 = 60 + shift + ((seed * (place + 2)) % 5 - 2) / 5
            complete(store, plan(ema_scope=scope, seed=seed), top1=top1, images=9000)
    result = emabench(["compare", "--metric", "top1", "--margin", "top1=0.8", "--json"])
    answer = json.loads(result.out)
    assert answer["metrics"][0]["questions"] == 4
    verdicts = {
        row["label"]: (cell["verdict"], cell["corrected"])
        for row in answer["rows"]
        if "verdict" in (cell := row["metrics"]["top1"])
    }
    assert all(None not in each for each in verdicts.values())
    weaker = [each for each in verdicts.values() if each[0] != each[1]]
    assert weaker
    assert f"corrected for that, {len(weaker)} of 4 verdicts" in result.err
    assert "corrected" in emabench(["compare", "--metric", "top1", "--margin", "top1=0.8"]).out


def test_a_comparison_over_several_tasks(store, emabench):
    for method, level in (("moco", 70.0), ("simclr", 60.0)):
        for scope, more in (("none", 0.0), ("full", 1.0)):
            for seed in range(3):
                complete(
                    store,
                    plan(method=method, ema_scope=scope, seed=seed),
                    top1=level + more + seed / 10,
                )
    complete(store, plan(smoke=True))
    asked = ["compare", "--across", "method", "--metric", "top1", "--baseline", "none"]
    result = emabench([*asked, "--json"])
    answer = json.loads(result.out)
    assert [line for line in result.err.splitlines() if line.startswith("note: ")] == [
        f"note: {note}" for note in answer["notes"]
    ]
    assert any("smoke" in note for note in answer["notes"])
    assert answer["warnings"] == [each["message"] for each in answer["cautions"]]
    assert all(warning in result.err for warning in answer["warnings"])
    assert (answer["tasks"], answer["seeds"]) == (["moco", "simclr"], [0, 1, 2])
    rows = {row["label"]: row for row in answer["rows"]}
    assert rows["full"]["improvement"]["value"] == 1.0
    assert "beats the baseline" in emabench(asked).out
    assert emabench([*asked, "--csv"]).out.startswith("label,is_baseline,iqm,iqm_low")
    assert emabench([*asked, "--runs"]).code == 2
    assert len(store.runs(RunQuery())) == 12
    gated = emabench([*asked, "--fail-if", "top1:-0.5"])
    assert (gated.code, "gate passed" in gated.err) == (0, True)
    gated = emabench([*asked[:-1], "full", "--fail-if", "top1:-0.5"])
    assert (gated.code, "gate FAILED" in gated.err) == (5, True)


@pytest.mark.parametrize("label", ["exp/1", "sweep.yaml"])
def test_a_label_is_no_path(store, emabench, label):
    for seed in range(2):
        for scope in ("none", "full"):
            complete(store, replace(plan(ema_scope=scope, seed=seed), study=label))
    assert emabench(["compare", "--study", label]).code == 0


def test_another_margin_of_a_metric_with_a_direction_is_told_too(store, emabench):
    looks = plan_looks((2,))
    terms = {**TERMS, "metrics": ["min:loss"], "margin": {"min:loss": 0.1}}
    store.keep_plan("mine", smoke=False, pairs=(2,), levels=looks.levels, terms=terms)
    for seed in range(2):
        for scope in ("none", "full"):
            complete(store, replace(plan(ema_scope=scope, seed=seed), study="mine"))
    asked = ["compare", "--study", "mine", "--margin", "min:loss=0.5", "--json"]
    answer = json.loads(emabench(asked).out)
    (told,) = [each["message"] for each in answer["cautions"] if each["code"] == "margin"]
    assert told.endswith("loss 0.5 instead of 0.1")
