"""What benches say of the arms of runs: which bench tells of which, and what is made of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from statistics import geometric_mean

import pytest
from made_store import make_store
from seeding import ENVIRONMENT, complete, plan

import emabench
from emabench.analysis.comparison import compare
from emabench.analysis.looking.looks import plan_looks
from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.metrics import parse_metric_of_runs, parse_metrics
from emabench.analysis.statistics import paired_ratio
from emabench.errors import UsageError
from emabench.records import CostReading, MetricPoint, RunQuery
from emabench.report.figures.forest import ForestPicture
from emabench.report.figures.pareto import ParetoPicture
from emabench.report.figures.seeds import SeedsPicture
from emabench.spec import ExperimentSpec, fingerprint
from emabench.spec.paths import nest
from emabench.store import RunStore

NONE = [60.0, 61.0, 90.0, 64.0]
FULL = [75.0, 73.0, 110.0, 79.0]
OLD = [1000.0] * 4
FLAT = [60.0] * 4
BARELY = [60 * 1.05 ** (1.905 + sign) for sign in (-1, 1, -1, 1)]
"""Above ``FLAT`` by 3.3 standard errors: too few for two questions together."""
HARDLY = [60 * 1.05 ** (0.5 + sign) for sign in (-1, 1, -1, 1)]
METRICS = "top1,bench_step_ms"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = tmp_path_factory.mktemp("made") / "results.db"
    with RunStore.open(str(found), mode="write") as store:
        for scope in ("none", "full", "projector"):
            for seed in range(2):
                planned = plan(ema_scope=scope, seed=seed)
                complete(store, planned, top1=60.0 + seed + len(scope))
    return found


@pytest.fixture
def path(made, tmp_path):
    """A store of three scopes with two seeds each, without a bench."""
    return shutil.copy(made, tmp_path / "results.db")


def bench(path, arms, *, environment=ENVIRONMENT, finished=True, **fields):
    """Add a bench of arms: by scope, or by the fields of an EMA, the milliseconds of the steps."""
    given = [({"scope": ema} if isinstance(ema, str) else dict(ema), ms) for ema, ms in arms]
    planned = plan(seed=7, **fields)
    more = nest({"bench.arms": [ema for ema, _ in given]})
    spec = ExperimentSpec.parse({**planned.spec, **more}).model_dump(mode="json")
    whole = replace(planned, spec=spec, fingerprint=fingerprint({"n": str([spec, given, fields])}))
    with RunStore.open(str(path), mode="write") as store:
        run = store.add_run(whole)
        claim = store.queue.claim(run.eval_job, environment=environment)
        points = [
            MetricPoint(step, 1, f"step_ms:{number}", value)
            for number, (_, ms) in enumerate(given)
            for step, value in enumerate(ms, start=1)
        ]
        store.queue.record(claim, points)
        results = {f"step_ms:{number}": ms[0] for number, (_, ms) in enumerate(given)}
        if finished:
            store.queue.finish(claim, results=results, cost=CostReading(total_s=1.0))
        else:
            store.queue.fail(claim, reason="killed", cost=None)


def compared(path, **asked):
    with emabench.open_store(path) as store:
        return store.select().compare(METRICS, baseline="none", **asked)


def cells(path):
    return {row.ema_scope: row.metrics["bench_step_ms"] for row in compared(path).rows}


def test_an_arm_has_the_mean_step_of_the_bench_and_the_ratio_of_its_turns(path):
    bench(path, [("none", NONE), ("full", FULL)])
    found = compared(path)
    none, projector, full = (row.metrics["bench_step_ms"] for row in found.rows)
    assert none.mean == pytest.approx(geometric_mean(NONE))
    assert full.values == pytest.approx([geometric_mean(FULL)] * 2)
    assert full.sd is None
    expected = paired_ratio(FULL, NONE)
    shown = full.baseline
    assert (shown.value, shown.low, shown.high) == (expected.value, expected.low, expected.high)
    assert (shown.n, shown.over, shown.seeds, shown.differences) == (4, "steps", (), ())
    assert shown.p is shown.p_holm is None
    assert full.verdict.value == "worse"
    assert full.mean / none.mean == pytest.approx(shown.value)
    assert (projector.mean, projector.baseline) == (None, None)
    row = found.rows[2]
    assert row.used == (2, 2), "steps are no seeds"
    assert row.headline.answer == "no"
    assert "no bench times both, as for EMA scopes" in found.rows[1].headline.words
    (few,) = (each.message for each in found.cautions if each.code == "few-pairs")
    assert "full (n=2)" in few
    assert any("intervals are over steps" in note for note in found.notes)


def test_of_several_benches_that_with_the_most_arms_tells_and_then_the_newest(path):
    bench(path, [("none", FULL), ("full", NONE)])
    bench(path, [("none", NONE), ("full", FULL)])
    bench(path, [("none", OLD)])
    bench(path, [("full", OLD), ("none", OLD)], finished=False)
    found = cells(path)
    assert found["full"].baseline.value == pytest.approx(paired_ratio(FULL, NONE).value)
    assert found["full"].mean / found["none"].mean == pytest.approx(found["full"].baseline.value)
    assert found["none"].mean == pytest.approx(geometric_mean(NONE))
    bench(path, [("none", OLD), ("projector", NONE), ("full", OLD)])
    found = cells(path)
    assert found["projector"].baseline.value == pytest.approx(paired_ratio(NONE, OLD).value)
    assert found["none"].mean == pytest.approx(OLD[0])


@pytest.mark.parametrize("steps", [[0.0, *FULL[1:]], [float("nan"), *FULL[1:]], [-1.0, *FULL[1:]]])
def test_only_rounds_in_which_all_arms_have_a_time_count(path, steps):
    bench(path, [("none", NONE), ("full", steps)])
    bench(path, [("none", NONE[:3]), ("projector", FULL)])
    found = cells(path)
    assert found["full"].baseline.value == pytest.approx(paired_ratio(FULL[1:], NONE[1:]).value)
    assert found["projector"].baseline.n == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"lr": 0.7},
        {"epochs": 3},
        {"dataset": "synthetic", "train_subset": 100},
        {"pretrain__monitors__gradient_every": None, "probe_images": 0},
    ],
)
def test_what_decides_no_step_does_not_count(path, fields):
    fields = {k if k != "probe_images" else "pretrain__probe_images": v for k, v in fields.items()}
    bench(path, [({"scope": "none"}, NONE), ({"scope": "full", "decay": 0.5}, FULL)], **fields)
    assert cells(path)["full"].baseline is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "moco"},
        {"batch_size": 64},
        {"image_size": 16},
        {"backbone": "resnet50"},
        {"pretrain__optimizer__name": "lars"},
        {"pretrain__optimizer__clip_grad_norm": 1.0},
        {"pretrain__augmentation__blur_probability": 1.0},
        {"identity": {"threads": 3}},
        {"identity": {"precision": "fp32"}},
        {"environment": replace(ENVIRONMENT, device="Other CPU")},
    ],
)
def test_another_bench_does_not_tell(path, fields):
    bench(path, [("none", NONE), ("full", FULL)], **fields)
    found = compared(path)
    assert [row.metrics["bench_step_ms"].mean for row in found.rows] == [None] * 3
    (lost,) = (each for each in found.cautions if each.code == "no-values")
    assert "emabench bench" in lost.hint


@pytest.mark.parametrize("field", [{"every": 2}, {"target_gradient": "detach"}, {"buffers": "ema"}])
def test_another_average_is_another_arm(path, field):
    bench(path, [("none", NONE), ({"scope": "full", **field}, FULL)])
    assert cells(path)["full"].mean is None


@pytest.mark.parametrize(
    ("by", "other"),
    [
        ("batch_size", {"batch_size": 64}),
        ("lr", {"lr": 0.7}),
        ("ema.decay", {"pretrain__ema__decay": 0.5}),
        ("commit", {"environment": replace(ENVIRONMENT, commit="c" * 40)}),
    ],
)
def test_arms_that_took_no_turns_have_no_ratio(tmp_path, by, other):
    path = tmp_path / "results.db"
    environments = [replace(ENVIRONMENT, commit="b" * 40), other.pop("environment", ENVIRONMENT)]
    with RunStore.open(str(path), mode="write") as store:
        for fields, environment in zip(({}, other), environments, strict=True):
            for seed in range(3):
                planned = plan(ema_scope="full", seed=seed, name=str(environment.commit), **fields)
                complete(store, planned, top1=60.0 + seed, environment=environment, force=True)
    bench(path, [("none", NONE), ("full", FULL)])
    bench(path, [("none", NONE), ("full", NONE)], **other)
    with emabench.open_store(path) as store:
        found = store.select().compare(METRICS, by=by)
    assert any(row.reference is not None for row in found.rows)
    for row in found.rows:
        assert row.metrics["bench_step_ms"].mean is not None
        assert row.metrics["bench_step_ms"].baseline is None
        assert row.headline is None or row.headline.answer == "undecided"


def test_of_several_devices_one_that_timed_both_tells(tmp_path):
    path = tmp_path / "results.db"
    fast = replace(ENVIRONMENT, device="Fast CPU")
    devices = {"none": [ENVIRONMENT, fast], "full": [fast, ENVIRONMENT]}
    with RunStore.open(str(path), mode="write") as store:
        for scope, places in devices.items():
            for seed, environment in enumerate(places):
                complete(store, plan(ema_scope=scope, seed=seed), environment=environment)
    bench(path, [("none", NONE), ("full", FULL)])
    found = compared(path)
    paired = found.rows[1].metrics["bench_step_ms"].baseline
    assert paired.value == pytest.approx(paired_ratio(FULL, NONE).value)
    assert "devices" in {each.code for each in found.cautions}


def test_a_bench_is_not_disturbed_by_what_ran_beside_the_runs(tmp_path):
    make_store(tmp_path / "results.db")
    with emabench.open_store(tmp_path / "results.db") as store:
        busy = store.select(where={"method": "dino"})
    for cost, warned in (("throughput", True), ("bench_step_ms", False)):
        found = busy.compare(f"top1,{cost}", baseline="none")
        assert ("busy" in {each.code for each in found.cautions}) == warned


def test_looks_are_at_pairs_of_runs_and_not_at_steps(path):
    bench(path, [("none", FLAT), ("full", BARELY), ("projector", BARELY)])
    metrics = parse_metrics(METRICS)
    with RunStore.open(str(path), mode="read") as store:
        stored = store.read(RunQuery(), wanted_values(metrics))
    found = compare(
        stored.runs,
        metrics,
        baseline="none",
        interval="looks",
        looks=plan_looks((2, 3)),
        measured=MetricValues.of(stored.values),
    )
    row = found.rows[2]
    assert row.metrics["top1"].baseline.look.number == 1
    cell = row.metrics["bench_step_ms"]
    assert cell.baseline.look is None
    assert cell.baseline.low == paired_ratio(BARELY, FLAT).low
    assert (cell.verdict.value, cell.corrected.value) == ("worse", "inconclusive")
    assert any("look 1 of 2 at 2 pairs" in note for note in found.notes)


def test_no_seeds_are_advised_where_a_bench_is_open(path):
    bench(path, [("none", FLAT), ("full", HARDLY)])
    line = compared(path, margin={"top1": 5.0}).rows[2].headline
    assert (line.answer, line.more_seeds) == ("undecided", None)
    assert line.words.endswith("a longer bench may tell")


def test_a_forest_has_a_panel_of_the_bench(path):
    bench(path, [("none", NONE), ("full", FULL)])
    with emabench.open_store(path) as store:
        gathered = store.select().gather(ForestPicture(metric=METRICS, baseline="none"))
    top1, cost = gathered.shown.metrics
    assert [mark.series for mark in gathered.shown.marks(top1)] == ["projector", "full"]
    (mark,) = gathered.shown.marks(cost)
    assert (mark.series, mark.estimate.n) == ("full", 4)
    assert gathered.shown.axis_label(cost) == "bench_step_ms / none, lower is better"
    title = gathered.figure().subfigs[0].texts[0].get_text()
    assert "n = 2 seeds an arm" in title
    assert "of bench_step_ms: 95 % over steps" in title


def test_a_forest_of_a_bench_alone_promises_no_interval_over_seeds(tmp_path):
    path = tmp_path / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        for seed, scope in enumerate(("none", "full")):
            complete(store, plan(ema_scope=scope, seed=seed))
    bench(path, [("none", NONE), ("full", FULL)])
    for pairs in ("no pair of seeds", "n = 1 seed an arm"):
        with emabench.open_store(path) as store:
            gathered = store.select().gather(ForestPicture(metric=METRICS, baseline="none"))
        title = gathered.figure().subfigs[0].texts[0].get_text()
        assert pairs in title
        assert "no interval over seeds yet" in title
        with RunStore.open(str(path), mode="write") as store:
            complete(store, plan(ema_scope="full", seed=0), force=True)


def test_a_bench_has_no_interval_over_seeds(path):
    bench(path, [("none", NONE), ("full", FULL)])
    with emabench.open_store(path) as store:
        gathered = store.select().gather(ParetoPicture(cost="bench_step_ms"))
    points = {point.label: point for point in gathered.shown.points}
    assert points["full"].cost.mean == pytest.approx(geometric_mean(FULL))
    assert points["full"].cost.low is points["full"].cost.high is None
    assert points["full"].value.low is not None
    shown = {picture.metric for picture in SeedsPicture.of_page(parse_metrics(METRICS), "")}
    assert shown == {"top1"}


def test_a_bench_is_no_figure_of_runs_by_itself():
    for read in (parse_metrics, parse_metric_of_runs):
        with pytest.raises(UsageError, match="of benches, not of runs"):
            read("bench_step_ms")
    with pytest.raises(UsageError, match="of benches, not of runs"):
        parse_metrics("bench_step_ms,top1")
