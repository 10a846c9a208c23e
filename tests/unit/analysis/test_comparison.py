"""Comparisons: which runs share a row, what is compared with what, and what the reader is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.analysis.comparison import compare
from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.metrics import parse_metrics
from emabench.errors import NotFoundError, UnknownNameError, UsageError
from emabench.records import RunQuery
from emabench.report.tables.comparison_table import reading_table
from emabench.store import RunStore

BOTH = parse_metrics("top1,throughput")
SCOPES = {"none": (60.0, 1000.0), "projector": (62.0, 980.0), "full": (61.0, 700.0)}


@pytest.fixture
def store(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as opened:
        yield opened


def study(store, *, scopes=SCOPES, seeds=(0, 1, 2), environment=ENVIRONMENT, **fields):
    for seed in seeds:
        for scope in scopes:
            top1, speed = SCOPES[scope]
            planned = plan(ema_scope=scope, seed=seed, **fields)
            # Seeds differ more than arms: only pairing shows the effect of the arm.
            complete(
                store,
                planned,
                top1=top1 + 5 * seed,
                throughput=speed * (1 + seed),
                environment=environment,
            )


def codes(comparison):
    return [caution.code for caution in comparison.cautions]


def rows_of(comparison):
    return {row.ema_scope: row for row in comparison.rows}


def test_rows_are_sorted_from_none_to_full_with_every_seed(store):
    study(store, seeds=(2, 0, 1))
    comparison = compare(store.runs(), BOTH)
    assert [row.ema_scope for row in comparison.rows] == ["none", "projector", "full"]
    row = comparison.rows[1]
    assert (row.method, row.n, row.seeds) == ("simclr", 3, (0, 1, 2))
    assert row.metrics["top1"].values == (62.0, 67.0, 72.0)
    assert (row.metrics["top1"].mean, row.metrics["top1"].sd) == (67.0, 5.0)
    assert row.differing == {}
    assert codes(comparison) == ["no-spread"]
    assert "--margin top1=0.5" in comparison.notes[0]


def test_scopes_are_sorted_by_how_much_they_average(store):
    scopes = ["full", "layer4+projector", "from:layer3", "projector", "from:layer4", "none"]
    for scope in [*scopes, "backbone", "from:stem"]:
        complete(store, plan(ema_scope=scope))
    assert [row.ema_scope for row in compare(store.runs(), BOTH).rows] == [
        "none",
        "projector",
        "layer4+projector",
        "from:layer4",
        "from:layer3",
        "from:stem",
        "backbone",
        "full",
    ]


def test_accuracies_are_compared_by_difference_and_costs_by_ratio_seed_by_seed(store):
    study(store)
    comparison = compare(store.runs(), BOTH)
    assert comparison.baseline == "full"
    rows = rows_of(comparison)
    top1 = rows["projector"].metrics["top1"].baseline
    assert (top1.kind, top1.value, top1.low, top1.high, top1.n) == ("difference", 1, 1, 1, 3)
    speed = rows["projector"].metrics["throughput"].baseline
    assert speed.kind == "ratio"
    assert (speed.value, speed.low, speed.high) == pytest.approx((1.4, 1.4, 1.4))
    assert rows["full"].metrics["top1"].baseline is None
    assert rows["full"].is_baseline


def test_the_baseline_is_full_then_none_then_nothing(store):
    study(store, scopes=["projector"])
    assert compare(store.runs(), BOTH).baseline is None
    study(store, scopes=["none"])
    assert compare(store.runs(), BOTH).baseline == "none"
    study(store, scopes=["full"])
    assert compare(store.runs(), BOTH).baseline == "full"
    assert compare(store.runs(), BOTH, baseline="projector").baseline == "projector"
    assert compare(store.runs(), BOTH, baseline="encoder").baseline == "full"
    with pytest.raises(UnknownNameError) as caught:
        compare(store.runs(), BOTH, baseline="projectr")
    assert "projector" in caught.value.hint


def test_only_matched_seeds_are_compared(store):
    study(store, scopes=["full"], seeds=(0, 1))
    study(store, scopes=["none"], seeds=(1, 2, 3))
    cell = rows_of(compare(store.runs(), BOTH))["none"].metrics["top1"]
    assert (cell.baseline.n, cell.baseline.value, cell.baseline.low) == (1, -1.0, None)
    assert len(cell.values) == 3


def test_methods_and_other_fields_make_rows_of_their_own(store):
    study(store, method="moco", seeds=(0, 1))
    study(store, method="simclr", seeds=(0, 1), epochs=7)
    comparison = compare(store.runs(), BOTH)
    assert [(row.method, row.differing) for row in comparison.rows] == [
        *[("moco", {"pretrain.epochs": 100})] * 3,
        *[("simclr", {"pretrain.epochs": 7})] * 3,
    ]
    assert all(row.metrics["top1"].baseline for row in comparison.rows if not row.is_baseline)


def test_an_option_counts_as_different_only_within_a_method(store):
    complete(store, plan(method="moco", pretrain__method__options={"queue_size": 64}))
    complete(store, plan(method="simclr"))
    assert all(row.differing == {} for row in compare(store.runs(), BOTH).rows)
    complete(store, plan(method="moco", pretrain__method__options={"queue_size": 128}))
    values = [tuple(row.differing.items()) for row in compare(store.runs(), BOTH).rows]
    name = "pretrain.method.options.queue_size"
    assert sorted(values, key=str) == [((name, 128),), ((name, 64),), ((name, None),)]


def test_runs_of_another_identity_are_neither_in_one_row_nor_in_one_ratio(store):
    study(store, scopes=["full"])
    study(store, scopes=["none"], identity={"threads": 1})
    comparison = compare(store.runs(), BOTH)
    row = rows_of(comparison)["none"]
    assert row.differing == {"threads": 1}
    assert row.metrics["throughput"].baseline is None
    assert comparison.warnings == ("simclr none is not compared with full: threads 1 against 2",)
    assert set(comparison.cautions[0].runs) == {run.id for run in row.runs}


def test_how_the_identity_was_asked_for_makes_no_difference(store):
    complete(store, plan(seed=0, device="auto"))
    complete(store, plan(seed=1, device="cpu", data_dir="/somewhere"))
    (row,) = compare(store.runs(), BOTH).rows
    assert row.seeds == (0, 1)


def test_a_run_from_before_a_field_was_added_shares_a_row(store):
    complete(store, plan(seed=0))
    planned = plan(seed=1)
    pretrain = {**planned.spec["pretrain"]}
    del pretrain["devices"], pretrain["compile"]
    old = {name: value for name, value in planned.spec.items() if name != "profile"}
    complete(store, replace(planned, spec={**old, "pretrain": pretrain}))
    (row,) = compare(store.runs(), BOTH).rows
    assert (row.seeds, row.differing) == ((0, 1), {})


def test_costs_of_two_machines_are_warned_of(store):
    study(store, scopes=["full"])
    other = replace(ENVIRONMENT, device="Other CPU", device_count=1)
    study(store, scopes=["none"], environment=other)
    comparison = compare(store.runs(), BOTH)
    assert codes(comparison) == ["no-spread", "devices"]
    assert "2 x Test CPU, Other CPU" in comparison.warnings[1]
    assert "devices" not in codes(compare(store.runs(), parse_metrics("top1")))


def test_the_control_arm_is_a_row_that_is_compared_but_no_baseline(store):
    gradient = "pretrain__ema__target_gradient"
    for seed in (0, 1):
        complete(store, plan(ema_scope="none", seed=seed, **{gradient: "attach"}), top1=60.0)
        complete(store, plan(ema_scope="none", seed=seed, **{gradient: "detach"}), top1=58.0)
        complete(store, plan(ema_scope="projector", seed=seed, **{gradient: "detach"}), top1=61.0)
    comparison = compare(store.runs(), BOTH)
    path = "pretrain.ema.target_gradient"
    found = [
        (row.ema_scope, row.differing[path], getattr(row.metrics["top1"].baseline, "value", None))
        for row in comparison.rows
    ]
    assert found == [
        ("none", "attach", None),
        ("none", "detach", -2.0),
        ("projector", "detach", 1.0),
    ]
    assert [row.is_baseline for row in comparison.rows] == [True, False, False]
    complete(store, plan(ema_scope="full", seed=0, **{gradient: "detach"}), top1=62.0)
    differences = [row.metrics["top1"].baseline for row in compare(store.runs(), BOTH).rows]
    assert [paired and paired.value for paired in differences] == [-2.0, -4.0, -1.0, None]


def test_without_a_control_arm_the_target_gradient_is_no_column(store):
    complete(store, plan(ema_scope="none", pretrain__ema__target_gradient="attach"))
    complete(store, plan(ema_scope="full", pretrain__ema__target_gradient="detach"))
    none, _ = compare(store.runs(), BOTH).rows
    assert none.differing == {}
    assert none.metrics["top1"].baseline.n == 1


def test_a_decay_means_nothing_without_ema(store):
    complete(store, plan(ema_scope="none"), top1=60.0)
    complete(store, plan(ema_scope="full", pretrain__ema__decay=0.5), top1=61.0)
    rows = compare(store.runs(), BOTH, baseline="none").rows
    assert [row.ema_scope for row in rows if row.metrics["top1"].baseline] == ["full"]
    rows = compare(store.runs(), BOTH, baseline="full").rows
    assert [row.ema_scope for row in rows if row.metrics["top1"].baseline] == ["none"]


def test_two_baselines_that_fit_equally_well_are_no_baseline(store):
    complete(store, plan(ema_scope="none"))
    for decay in (0.5, 0.6):
        complete(store, plan(ema_scope="full", pretrain__ema__decay=decay))
    comparison = compare(store.runs(), BOTH)
    assert rows_of(comparison)["none"].metrics["top1"].baseline is None
    assert "2 baselines fit equally well" in comparison.warnings[0]


def test_of_repeats_of_one_seed_the_newest_counts(store):
    complete(store, plan(), top1=10.0)
    complete(store, plan(), top1=20.0, force=True)
    comparison = compare(store.runs(), BOTH)
    assert comparison.rows[0].metrics["top1"].values == (20.0,)
    assert "1 repeated run" in comparison.notes[0]


def test_what_is_not_known_is_neither_zero_nor_in_the_mean(store):
    complete(store, plan(seed=0), throughput=None)
    complete(store, plan(seed=1), throughput=500.0)
    (row,) = compare(store.runs(), parse_metrics("throughput,energy")).rows
    assert row.metrics["throughput"].values == (None, 500.0)
    assert row.metrics["throughput"].mean == 500.0
    assert (row.metrics["energy"].mean, row.metrics["energy"].sd) == (None, None)


def test_n_is_the_number_of_pairs_that_were_used(store):
    for seed in range(4):
        for scope in ("full", "none"):
            known = {"throughput": 500.0 if seed < 3 or scope == "full" else None}
            complete(store, plan(ema_scope=scope, seed=seed), top1=50.0 + seed % 3, **known)
    found = compare(store.runs(), parse_metrics("throughput"))
    assert rows_of(found)["none"].used == (3, 3)
    assert rows_of(found)["full"].used == (4, 4)
    assert [c.message for c in found.cautions if c.code == "unknown-values"] == [
        "unknown values are left out: throughput of none in 1 of 4 runs"
    ]
    both = compare(store.runs(), parse_metrics("top1,throughput"))
    assert rows_of(both)["none"].used == (3, 4)
    table = reading_table(both)
    column = table.headers.index("n")
    assert [row[column] for row in table.rows] == ["3 to 4", "4"]


def test_a_cost_of_zero_has_no_ratio(store):
    study(store)
    rows = rows_of(compare(store.runs(), parse_metrics("ema_bytes")))
    assert rows["none"].metrics["ema_bytes"].baseline is None
    assert rows["none"].metrics["ema_bytes"].mean == 0


def test_peak_memory_says_which_memory_it_is(store):
    complete(store, plan())
    comparison = compare(store.runs(), parse_metrics("peak_memory"))
    assert comparison.rows[0].metrics["peak_memory"].values == (2**30,)
    assert "resident memory" in comparison.notes[0]


def test_runs_that_are_not_done_are_counted(store):
    complete(store, plan())
    store.add_run(plan(seed=1))
    failed = store.queue.claim(store.add_run(plan(seed=2)).pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(failed, reason="NaN", cost=None)
    comparison = compare(store.runs(), BOTH)
    assert comparison.notes[0] == "1 failed, 1 queued left out"
    failed = comparison.cautions[0]
    assert (failed.code, failed.hint) == (
        "failed",
        "emabench logs says why; emabench retry tries again",
    )
    assert failed.message.endswith("(NaN)")
    assert {each.run.id: each.why for each in comparison.left_out} == {
        run.id: run.state.value for run in store.runs() if run.state.value != "done"
    }


@pytest.mark.parametrize(
    ("prepare", "words", "hint"),
    [
        (lambda store: None, "no run matches", "emabench run"),
        (lambda store: store.add_run(plan()), "1 queued left out", "emabench list"),
        (lambda store: complete(store, plan(smoke=True)), "only smoke runs", "--smoke"),
    ],
)
def test_nothing_to_compare_says_why(store, prepare, words, hint):
    prepare(store)
    with pytest.raises(NotFoundError, match=words) as caught:
        compare(store.runs(RunQuery(smoke=True)), BOTH)
    assert hint in caught.value.hint


def test_smoke_runs_take_part_when_asked(store):
    complete(store, plan(smoke=True))
    assert len(compare(store.runs(RunQuery(smoke=True)), BOTH, smoke=True).rows) == 1


def test_an_unknown_or_empty_metric_is_a_usage_error():
    with pytest.raises(UnknownNameError) as caught:
        parse_metrics("top1,throughputt")
    assert "did you mean throughput" in caught.value.hint
    with pytest.raises(UsageError):
        parse_metrics("top1,,throughput")
    assert [metric.name for metric in parse_metrics(" top1 ,flops,top1")] == ["top1", "flops"]


def test_the_json_has_the_documented_form(store):
    study(store, seeds=(0, 1))
    metrics = parse_metrics("top1")
    stored = store.read(RunQuery(), wanted_values(metrics))
    measured = MetricValues.of(stored.values)
    comparison = compare(stored.runs, metrics, baseline="none", measured=measured)
    value = comparison.to_json()
    assert list(value) == [
        *(
            "schema_version",
            "by",
            "factor",
            "baseline",
            "confidence",
            "interval",
            "looks",
            "metrics",
        ),
        *("rows", "left_out", "warnings", "cautions", "notes"),
    ]
    assert (value["by"], value["factor"], value["baseline"], value["interval"]) == (
        *("ema_scope", "pretrain.ema.scope", "none", "t"),
    )
    assert value["metrics"] == [
        {
            **{"name": "top1", "unit": "%", "kind": "difference", "role": "accuracy"},
            **{"higher_is_better": True, "margin": None},
            "shown": {"divisor": 1.0, "unit": "%"},
            "questions": 2,
        }
    ]
    none, projector, _ = value["rows"]
    runs = comparison.rows[0].runs
    assert none == {
        "label": "none",
        "method": "simclr",
        "ema_scope": "none",
        "value": "none",
        "n": 2,
        "seeds": [0, 1],
        "runs": [{"id": run.id, "seed": s, "collapsed": None} for s, run in enumerate(runs)],
        "is_baseline": True,
        "reference": None,
        "unpaired": {"arm": [], "baseline": []},
        "headline": None,
        "metrics": {"top1": {"mean": 62.5, "sd": pytest.approx(12.5**0.5), "values": [60, 65]}},
    }
    cell = projector["metrics"]["top1"]
    assert cell["baseline"] == {
        **{"kind": "difference", "value": 2.0, "n": 2, "sd": 0.0},
        # Nine test images.
        **{"low": pytest.approx(-97.83, abs=0.01), "high": pytest.approx(101.83, abs=0.01)},
        **{"resolution": pytest.approx(100 / 9), "look": None, "over": "seeds"},
        **{"p": 0.5, "p_smallest": 0.5, "p_holm": 1.0},
        **{"seeds": [0, 1], "differences": [2.0, 2.0]},
    }
    assert (cell["verdict"], cell["words"]) == ("inconclusive", "inconclusive")
    assert cell["test_set"] == {
        **{"se": 0.0, "low": 0.0, "high": 0.0, "images": 9, "n": 2, "gained": 0.0, "lost": 0.0},
    }
    assert projector["reference"] == 0
    assert value["warnings"] == [each["message"] for each in value["cautions"]]


def test_a_profiled_run_is_left_out_and_named(store):
    study(store, seeds=(0, 1))
    study(store, seeds=(2,), profile=True)
    comparison = compare(store.runs(), BOTH)
    assert {row.seeds for row in comparison.rows} == {(0, 1)}
    assert [each.why for each in comparison.left_out] == ["profiled"] * 3
    assert "3 profiled left out" in comparison.notes[0]
    profiled = [each.run for each in comparison.left_out]
    with pytest.raises(NotFoundError, match="only profiled runs"):
        compare(profiled, BOTH)
