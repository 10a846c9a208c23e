"""Figures of before a fix and of after it are never pooled, and the reader is told."""

from dataclasses import replace

import pytest
from seeding import plan, recorded

from emabench.analysis.arms import fields_of
from emabench.analysis.comparison import compare
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.pace import estimate_time
from emabench.records import CostReading
from emabench.spec.revisions import EVALUATION, PRETRAINING

KNN = parse_metrics("top1,knn_top1,knn_top5")


def run(scope="full", seed=0, evaluation=(), pretraining=(), knn=50.0, **fields):
    names = {EVALUATION: list(evaluation), PRETRAINING: list(pretraining)}
    identity = {name: value for name, value in names.items() if value}
    planned = plan(ema_scope=scope, seed=seed, identity=identity, **fields)
    return recorded(planned, knn_top1=knn, knn_top5=knn + 20, top5=90.0)


def found(comparison):
    return [each for each in comparison.cautions if each.code == "revisions"]


def cells(comparison, metric):
    return {row.label: row.metrics[metric].values for row in comparison.rows}


def test_a_mended_metric_of_before_is_left_out_and_no_other_one():
    old = [run("none", 0), run("none", 1), run("full", 0)]
    new = run("full", 1, ["knn-top5"], knn=40.0)
    comparison = compare([*old, new], KNN)
    assert cells(comparison, "top1") == {"none": (60.0, 60.0), "full": (60.0, 60.0)}
    assert cells(comparison, "knn_top1") == {"none": (50.0, 50.0), "full": (50.0, 40.0)}
    assert cells(comparison, "knn_top5") == {"none": (None, None), "full": (None, 60.0)}
    assert comparison.rows[0].metrics["knn_top5"].baseline is None
    (caution,) = found(comparison)
    ids = ", ".join(each.id for each in old)
    assert caution.message == f"knn_top5 of 3 runs is older than knn-top5 and left out: {ids}"
    assert set(caution.runs) == {each.id for each in old}
    assert "emabench eval" in caution.hint
    assert "docs/explanation/changed-numbers.md" in caution.hint
    assert comparison.arms.differing == ()


def test_nothing_is_said_of_metrics_that_nobody_asked_for_nor_of_runs_that_agree():
    mixed = [run("none", 0), run("full", 0, ["knn-top5"])]
    assert found(compare(mixed, parse_metrics("top1"))) == []
    for names in ((), ["knn-top5"]):
        alike = [run("none", 0, names), run("full", 0, names)]
        comparison = compare(alike, KNN)
        assert found(comparison) == []
        assert cells(comparison, "knn_top5") == {"none": (70.0,), "full": (70.0,)}


def test_a_change_that_is_repeated_says_so_and_each_revision_is_named():
    runs = [run("full", 0), run("full", 1, ["knn-votes"]), run("full", 2, ["knn-votes", "new-one"])]
    comparison = compare(runs, KNN)
    # Of a change that this version does not know, any figure may be another.
    assert cells(comparison, "top1") == {"full": (None, None, 60.0)}
    assert cells(comparison, "knn_top1") == {"full": (None, None, 50.0)}
    told = {each.message.partition(": ")[0]: each.hint for each in found(comparison)}
    assert "knn_top1 of 1 run is older than knn-votes, new-one and left out" in told
    assert "knn_top1 of 1 run is older than new-one and left out" in told
    assert "top1 of 2 runs is older than new-one and left out" in told
    assert all(hint.startswith("run them again: only the evaluation") for hint in told.values())


def test_evaluations_that_no_fix_concerns_are_compared_with_those_that_one_does():
    low = {"evaluation__knn__temperature": 0.001}
    runs = [run("full", seed) for seed in (0, 1)]
    runs += [run("full", seed, ["knn-votes"], **low) for seed in (0, 1)]
    comparison = compare(runs, KNN)
    assert found(comparison) == []
    assert set(cells(comparison, "knn_top1").values()) == {(50.0, 50.0)}


def test_pretrainings_of_before_stand_in_arms_of_their_own():
    old = [run(scope, seed) for scope in ("projector", "full") for seed in (0, 1)]
    new = [
        run(scope, seed, pretraining=["drop-rates"])
        for scope in ("projector", "full")
        for seed in (0, 1)
    ]
    comparison = compare([*old, *new], KNN)
    labels = ["projector", "projector before drop-rates", "full", "full before drop-rates"]
    assert [row.label for row in comparison.rows] == labels
    assert comparison.arms.differing == ()
    assert [row.reference for row in comparison.rows] == [2, 3, None, None]
    assert [each.message.partition(":")[0] for each in found(comparison)] == [
        "2 runs were trained before drop-rates and kept apart"
    ] * 2
    assert comparison.left_out == ()


def test_arms_of_unlike_revisions_are_compared_with_a_caution():
    runs = [run("projector", 0, pretraining=["drop-rates"]), run("full", 0)]
    comparison = compare(runs, KNN)
    assert comparison.rows[0].reference == 1
    (caution,) = found(comparison)
    assert "projector was trained after drop-rates; full did not need it, or" in caution.message


@pytest.mark.parametrize("names", [5, None, "knn-top5", {"a": 1}, [["x"]]])
def test_names_that_are_none_hurt_nobody(names):
    odd = replace(run("none", 0), identity={**run().identity, EVALUATION: names})
    comparison = compare([odd, run("full", 0)], KNN)
    assert [row.label for row in comparison.rows] == ["none", "full"]
    assert EVALUATION not in fields_of(odd)


def test_how_long_runs_take_is_told_by_those_of_before():
    old = replace(run(), cost=CostReading(total_s=30.0))
    later = plan(ema_scope="full", seed=1, identity={EVALUATION: ["knn-votes"]})
    assert estimate_time([later], [old]).seconds is not None
    trained_otherwise = plan(ema_scope="full", seed=1, identity={PRETRAINING: ["drop-rates"]})
    assert estimate_time([trained_otherwise], [old]).seconds is None
