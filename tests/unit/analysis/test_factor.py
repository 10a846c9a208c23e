"""Comparisons by other fields than the EMA scope."""

from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, plan, recorded

from emabench.analysis.comparison import compare
from emabench.analysis.factor import Factor
from emabench.analysis.metrics import parse_metrics
from emabench.errors import SpecError, UnknownNameError, UsageError

METRICS = parse_metrics("top1,throughput")


def compared(runs, by, **settings):
    return compare(runs, METRICS, by=Factor.parse(by), **settings)


def grid(*values, seeds=range(3), **fields):
    path, settings = fields.pop("path"), fields
    return [
        recorded(plan(seed=seed, **{path: value}, **settings), top1=60 + place + seed * place / 8)
        for place, value in enumerate(values)
        for seed in seeds
    ]


def test_a_number_is_compared_with_the_smallest_unless_another_is_named():
    runs = grid(0.99, 0.9, 0.996, path="pretrain__ema__decay", ema_scope="full")
    found = compared(runs, "ema.decay")
    assert [row.value for row in found.rows] == [0.9, 0.99, 0.996]
    assert (found.baseline, [row.reference for row in found.rows]) == (0.9, [None, 0, 0])
    assert "ema.decay 0.9 is the baseline" in " ".join(found.notes)
    named = compared(runs, "ema.decay", baseline="0.99")
    assert [row.is_baseline for row in named.rows] == [False, True, False]
    assert [row.label for row in named.rows] == [
        "full decay=0.9",
        "full decay=0.99",
        "full decay=0.996",
    ]
    with pytest.raises(UnknownNameError) as caught:
        compared(runs, "ema.decay", baseline="0.5")
    assert caught.value.hint == "did you mean 0.9?"


def test_options_go_along_with_their_method():
    runs = [
        *grid("moco", path="method", pretrain__method__options={"queue_size": 64}),
        *grid("simclr", path="method"),
    ]
    found = compared(runs, "method", baseline="simclr")
    assert found.rows[0].metrics["top1"].baseline.n == 3
    assert [row.is_baseline for row in found.rows] == [False, True]


def test_arms_pair_up_only_if_all_else_agrees():
    runs = [
        *grid(10, 20, path="epochs", lr=0.1),
        *grid(20, path="epochs", lr=0.2),
        *grid(30, path="epochs", lr=0.3),
    ]
    found = compared(runs, "epochs")
    pairs = {(r.value, r.differing["pretrain.optimizer.lr"]): r.reference for r in found.rows}
    assert pairs == {(10, 0.1): None, (20, 0.1): 0, (20, 0.2): None, (30, 0.3): None}
    messages = [each.message for each in found.cautions if each.code == "no-baseline"]
    assert "simclr none epochs=30 is not compared with 10: lr 0.3 against 0.1" in messages


def test_threads_of_an_identity_are_compared_with_a_loud_warning():
    runs = [
        recorded(
            plan(seed=s, identity={"threads": t}),
            top1=60 + s * t,
            throughput=500 * t + s,
            environment=replace(ENVIRONMENT, threads=t),
        )
        for s in range(3)
        for t in (1, 2)
    ]
    found = compared(runs, "threads")
    assert [row.value for row in found.rows] == [1, 2]
    assert found.rows[1].metrics["throughput"].baseline.value == pytest.approx(2, rel=0.01)
    assert [each.code for each in found.cautions] == ["threads"]


def test_names_of_runs_are_a_factor():
    runs = [
        replace(run, name=name, id=f"{name}{run.id}")
        for name in ("main", "change")
        for run in grid(10, path="epochs")
    ]
    found = compared(runs, "name", baseline="main")
    assert [(row.value, row.n) for row in found.rows] == [("change", 3), ("main", 3)]
    assert found.rows[0].reference == 1
    assert found.left_out == ()


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ("seed", UsageError, "--runs"),
        ("augmentation", UsageError, "augmentation.crop_scale"),
        ("ema.deacy", SpecError, "did you mean ema.decay"),
    ],
)
def test_what_is_no_factor_is_refused(text, error, hint):
    with pytest.raises(error) as caught:
        Factor.parse(text)
    assert hint in caught.value.hint


def test_short_names_and_identity_stand_for_one_field():
    assert Factor.parse("ema-scope") == Factor.parse("pretrain.ema.scope")
    assert Factor.parse("threads").path == "threads"
    assert (Factor.parse("device").path, Factor.parse("data_dir").path) == ("device_kind", "data")
    assert Factor.parse("method.options.queue_size").name == "method.options.queue_size"


def test_what_differs_by_design_goes_along_with_the_factor():
    runs = [
        *grid("moco", path="method", ema_scope="full", epochs=10, pretrain__optimizer__lr=0.1),
        *grid("simclr", path="method", ema_scope="none", epochs=13, pretrain__optimizer__lr=0.2),
    ]
    alone = compared(runs, "method", baseline="simclr")
    assert [row.reference for row in alone.rows] == [None, None]
    by = Factor.parse("method", along=["epochs", "ema", "optimizer"])
    found = compare(runs, METRICS, by=by, baseline="simclr")
    assert [row.reference for row in found.rows] == [1, None]
    assert found.rows[0].metrics["top1"].baseline.n == 3
    partly = compare(runs, METRICS, by=Factor.parse("method", along=["ema"]), baseline="simclr")
    assert [row.reference for row in partly.rows] == [None, None]
    with pytest.raises(SpecError, match="unknown field 'epoch'"):
        Factor.parse("method", along=["epoch"])


def test_null_can_be_the_baseline():
    runs = grid(None, 64, path="pretrain__ema__decay_batch", ema_scope="full")
    found = compared(runs, "ema.decay_batch", baseline="null")
    assert (found.baseline, [row.reference for row in found.rows]) == ("null", [None, 0])
    assert [row.is_baseline for row in found.rows] == [True, False]


def test_extended_runs_are_compared_with_those_that_they_extend():
    parents = [recorded(plan(seed=seed, epochs=10), top1=60 + seed) for seed in range(3)]
    children = [
        recorded(
            plan(
                seed=seed,
                epochs=20,
                pretrain__extends={
                    "run": f"{seed}a", "fingerprint": f"{seed}" * 32, "training": "b" * 32,
                    "checkpoint": f"{seed}" * 64, "earlier_epochs": [10], "step": 40,
                },
                identity={"extends": [f"{seed}" * 32, f"{seed}" * 64]},
            ),
            top1=62 + seed,
        )
        for seed in range(3)
    ]  # fmt: skip
    found = compared([*parents, *children], "epochs")
    assert [row.n for row in found.rows] == [3, 3], "each seed extends a run of its own"
    (child,) = [row for row in found.rows if row.value == 20]
    assert found.rows[child.reference].value == 10
    assert not [note for note in found.notes if "not compared" in note]
