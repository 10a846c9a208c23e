"""What the pictures show: the numbers behind every mark, and what is said about those left out."""

from __future__ import annotations

import math

import pytest
from scipy import stats
from seeding import complete, plan
from studied import BLOCKS, SCOPES, averaged, points_of, study, top1_of

from emabench.analysis.comparison import compare
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.selection import select
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UnknownNameError, UsageError
from emabench.records import MetricPoint, RunQuery
from emabench.report.figures._arm_looks import arm_looks
from emabench.report.figures._axes import bounds
from emabench.report.figures._sheet import source_line
from emabench.report.figures.blocks import BlocksPicture
from emabench.report.figures.cost import CostBar, CostPicture
from emabench.report.figures.curves import CurvesPicture, seconds_by_epoch
from emabench.report.figures.forest import ForestPicture, draw_forest
from emabench.report.figures.pareto import ParetoPicture
from emabench.report.figures.seeds import SeedsPicture
from emabench.store import RunStore, store_label


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def test_an_interval_is_that_of_student():
    values = [60.0, 61.5, 63.0, 60.2]
    estimate = MeanInterval.of([*values, None, math.nan])
    known = stats.t.interval(0.95, 3, loc=estimate.mean, scale=stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(known)
    assert (estimate.n, estimate.mean) == (4, pytest.approx(sum(values) / 4))
    assert MeanInterval.of([5.0]) == MeanInterval(5.0, None, None, 1)
    assert MeanInterval.of([None, math.inf]) is None


@pytest.mark.parametrize(("cost", "front"), [("step_ms", {"b", "d"}), ("throughput", {"b", "d"})])
def test_the_front_holds_what_nothing_beats(store, cost, front):
    arms = {"a": (59.0, 900.0), "b": (60.0, 1000.0), "c": (60.0, 800.0), "d": (65.0, 500.0)}
    for label, (top1, speed) in arms.items():
        complete(store, plan(ema_scope=label), top1=top1, throughput=speed)
    shown = ParetoPicture("top1", cost).gather(select(store.runs(), smoke=False))
    assert {point.label for point in shown.points if point.on_front} == front
    assert [point.label for point in shown.front] in (["b", "d"], ["d", "b"])


def test_a_tie_beats_nobody(store):
    for label in ("a", "b"):
        complete(store, plan(ema_scope=label), top1=60.0, throughput=1000.0)
    shown = ParetoPicture("top1", "step_ms").gather(select(store.runs(), smoke=False))
    assert all(point.on_front for point in shown.points)


def test_an_arm_without_a_cost_is_left_out_by_name(store):
    complete(store, plan(ema_scope="none"))
    complete(store, plan(ema_scope="full"), throughput=None)
    shown = ParetoPicture("top1", "step_ms").gather(select(store.runs(), smoke=False))
    assert [point.label for point in shown.points] == ["none"]
    assert "without top1 or step_ms, left out: full" in shown.notes
    with pytest.raises(NotFoundError, match="no run has both top1 and energy"):
        ParetoPicture("top1", "energy").gather(select(store.runs(), smoke=False))
    with pytest.raises(UsageError, match="against itself"):
        ParetoPicture("top1", "top1").gather(select(store.runs(), smoke=False))


def test_curves_hold_every_epoch_and_its_time(store):
    study(store, arms=2, seeds=3, epochs=4)
    chosen = select(store.runs(), smoke=False)
    shown = CurvesPicture().gather(chosen, points_of(store))
    none, _ = shown.courses
    assert (none.label, none.n, len(none.points)) == ("none", 3, 4)
    for point in none.points:
        expected = [top1_of("none", seed) - 20 / point.epoch for seed in range(3)]
        assert point.value.mean == pytest.approx(sum(expected) / 3)
        runs = chosen.arms[0].runs.values()
        seconds = [10 * point.epoch * (1.5 + run.cost.train_s) / 40 for run in runs]
        assert point.seconds == pytest.approx(sum(seconds) / 3)


def test_a_run_without_its_time_has_none(store):
    complete(store, plan())
    (run,) = store.runs()
    assert seconds_by_epoch(run, [MetricPoint(2, 1, "loss", 1.0)]) == {1: 5.0}
    timeless = run.__class__(**{**vars(run), "cost": run.cost.__class__(steps=4)})
    assert seconds_by_epoch(timeless, store.metrics(run.id)) == {}


def test_a_curve_that_nobody_has_is_explained(store):
    study(store, arms=1, seeds=1)
    chosen = select(store.runs(), smoke=False)
    with pytest.raises(UnknownNameError) as caught:
        CurvesPicture("los").gather(chosen, points_of(store))
    assert "did you mean loss" in caught.value.hint
    with pytest.raises(NotFoundError, match="no run recorded loss"):
        CurvesPicture("loss").gather(chosen)


def test_the_phases_of_a_run_are_means_and_the_rest_is_shown(store):
    study(store, arms=2, seeds=2)
    chosen = select(store.runs(), smoke=False)
    shown = CostPicture("run").gather(chosen)
    for bar, arm in zip(shown.bars, chosen.arms, strict=True):
        costs = [run.cost for run in arm.runs.values()]
        assert bar.parts["train_s"] == pytest.approx(sum(c.train_s for c in costs) / 2)
        assert bar.total.mean == pytest.approx(sum(c.total_s for c in costs) / 2)
        assert bar.rest == pytest.approx(bar.total.mean - sum(bar.parts.values()))
    assert "data_wait_s" not in shown.phases
    assert CostBar("x", 1, {"a": 3.0}, MeanInterval(2.0, None, None, 1)).rest == 0


def test_a_step_whose_phases_nobody_measured_still_has_its_length(store):
    complete(store, plan())
    shown = CostPicture("step").gather(select(store.runs(), smoke=False))
    assert shown.phases == []
    assert shown.bars[0].rest == pytest.approx(256.0)
    assert shown.notes == ("no run has the phases of a step: only step_ms is shown",)


def test_nothing_measured_is_explained(store):
    complete(store, plan(), throughput=None)
    with pytest.raises(NotFoundError, match="no run has step_ms") as caught:
        CostPicture().gather(select(store.runs(), smoke=False))
    assert "--of run" in caught.value.hint


def test_blocks_stand_alone_and_with_all_that_follow(store):
    study(store, arms=len(SCOPES), seeds=2)
    shown = BlocksPicture("top1").gather(select(store.runs(), smoke=False), points_of(store))
    (panel,) = shown.panels
    assert shown.places == (*BLOCKS, "backbone")
    assert set(panel.single) == set(BLOCKS)
    assert set(panel.onward) == set(BLOCKS)
    assert set(panel.without) == {"none"}
    assert set(panel.others) == {"backbone"}
    expected = [top1_of("full", seed) for seed in range(2)]
    assert panel.onward["stem"].mean == pytest.approx(sum(expected) / 2)
    assert panel.onward["projector"] == panel.single["projector"]
    assert averaged("from:layer3") == 3


def test_without_a_monitor_full_has_a_place_of_its_own(store):
    for scope in ("none", "projector", "full", "layer2+projector"):
        complete(store, plan(method="moco", ema_scope=scope))
    shown = BlocksPicture("top1").gather(select(store.runs(), smoke=False))
    assert shown.places == ("projector", "layer2+projector", "full")


def test_methods_have_panels_and_arms_without_ema_are_in_each_that_fits(store):
    study(store, arms=3, seeds=1, methods=("moco", "simclr"))
    shown = BlocksPicture("top1").gather(select(store.runs(), smoke=False), points_of(store))
    assert [panel.title for panel in shown.panels] == ["moco", "simclr"]
    complete(store, plan(method="byol", ema_scope="none"))
    for decay in (0.9, 0.99):
        complete(store, plan(method="byol", ema_scope="full", pretrain__ema__decay=decay))
    shown = BlocksPicture("top1").gather(
        select(store.runs(RunQuery(where={"pretrain.method.name": "byol"})), smoke=False)
    )
    assert [panel.title for panel in shown.panels] == ["decay=0.9", "decay=0.99"]
    assert all(set(panel.without) == {"none"} for panel in shown.panels)


def joined(panel):
    """What lines join in a picture of blocks: the places of each stretch."""
    lines = [bar.lines[0] for bar in panel.containers]
    return [
        [round(x) for x in line.get_xdata()] for line in lines if line.get_linestyle() != "None"
    ]


def test_lines_join_only_blocks_that_follow_each_other(store):
    for scope in ("none", "full", "layer1", "layer3", "layer4", "projector"):
        complete(store, plan(method="moco", ema_scope=scope))
    watched = [MetricPoint(1, 1, f"grad_norm_cv:{block}", 1.0) for block in BLOCKS]
    arms = select(store.runs(), smoke=False)
    values = MetricValues(points={arms.runs[0].id: watched})
    picture = BlocksPicture("top1")
    shown = picture.gather(arms, values)
    assert shown.places == BLOCKS
    assert joined(picture.draw(shown).axes[0]) == [[1], [3, 4, 5], [0], [5]]


def test_lines_of_a_seed_stop_where_it_is_missing(store):
    for scope, seeds in (("none", (0, 1)), ("projector", (0,)), ("full", (0, 1))):
        for seed in seeds:
            complete(store, plan(ema_scope=scope, seed=seed))
    picture = SeedsPicture()
    panel = picture.draw(picture.gather(select(store.runs(), smoke=False))).axes[0]
    thin = [line for line in panel.get_lines() if line.get_linewidth() == 0.6]
    assert [list(line.get_ydata()) for line in thin] == [[0, 1, 2], [0], [2]]


@pytest.mark.parametrize("cost", ["step_ms", "throughput"])
def test_the_front_is_drawn_to_the_edges(store, cost):
    for scope, (top1, speed) in {
        "a": (59.0, 900.0),
        "b": (60.0, 1000.0),
        "c": (65.0, 500.0),
    }.items():
        complete(store, plan(ema_scope=scope), top1=top1, throughput=speed)
    picture = ParetoPicture("top1", cost)
    panel = picture.draw(picture.gather(select(store.runs(), smoke=False))).axes[0]
    (front,) = [line for line in panel.get_lines() if line.get_linewidth() == 2.2]
    xs, ys = list(front.get_xdata()), list(front.get_ydata())
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    assert min(ys) == bottom
    assert 65.0 == max(ys) < top
    if cost == "step_ms":
        assert (ys[0], xs[-1], ys[-1]) == (bottom, right, 65.0)
    else:
        assert (xs[0], ys[0], ys[-1]) == (left, 65.0, bottom)


def test_every_seed_is_there(store):
    study(store, arms=2, seeds=3)
    complete(store, plan(ema_scope="other", seed=9), throughput=None)
    shown = SeedsPicture("throughput").gather(select(store.runs(), smoke=False))
    assert shown.seeds == [0, 1, 2]
    assert [list(arm.values) for arm in shown.arms] == [[0, 1, 2]] * 2
    assert any("without throughput, left out: " in note for note in shown.notes)
    with pytest.raises(NotFoundError, match="no run has energy"):
        SeedsPicture("energy").gather(select(store.runs(), smoke=False))


def test_what_is_left_out_is_said(store):
    complete(store, plan(seed=0))
    complete(store, plan(seed=0), force=True)
    store.add_run(plan(seed=1))
    chosen = select(store.runs(), smoke=False)
    assert chosen.notes[0] == "1 queued left out"
    assert "the newest of each seed counts" in chosen.notes[1]


def test_nothing_to_draw_is_explained(store):
    with pytest.raises(NotFoundError, match="no run matches"):
        select([], smoke=False, to="draw")
    complete(store, plan(smoke=True))
    with pytest.raises(NotFoundError, match="1 smoke run left out") as caught:
        select(store.runs(RunQuery(smoke=True)), smoke=False, to="draw")
    assert "--smoke" in caught.value.hint
    store.add_run(plan(seed=1))
    with pytest.raises(NotFoundError, match="no run is done, 1 queued"):
        select(store.runs(), smoke=False, to="draw")


def test_the_source_names_store_machine_and_versions_and_no_password(store):
    study(store, arms=2, seeds=2)
    runs = select(store.runs(), smoke=False).runs
    line = source_line(runs, store_label("postgresql://me:secret@host/runs"), ["study s"])
    assert "secret" not in line
    for words in ("study s", "4 runs", "Test CPU, bf16, 2 threads", "emabench"):
        assert words in line


def test_intervals_of_few_seeds_do_not_hide_the_means():
    means = [MeanInterval(60.0, 59.0, 61.0, 9), MeanInterval(62.0, 61.0, 63.0, 9)]
    assert bounds(means) is None
    assert bounds([*means, MeanInterval(61.0, -40.0, 162.0, 2)]) == pytest.approx((56.76, 65.24))
    assert bounds([*means, MeanInterval(61.0, 60.5, 162.0, 9)]) == pytest.approx((58.82, 65.18))
    assert bounds([MeanInterval(61.0, None, None, 1)]) is None
    assert bounds([]) is None


@pytest.mark.parametrize("others", [[], [45.0, 10.0]])
def test_two_seeds_stretch_an_axis_no_further_than_three_would(others):
    two, three = (
        MeanInterval(61.0, 61.0 - reach, 61.0 + reach, n)
        for n, reach in ((2, stats.t.ppf(0.975, 1)), (3, stats.t.ppf(0.975, 2)))
    )
    low, high = bounds([two], [61.0, *others])
    edge = 0.03 / 1.06 * (high - low)
    assert low + edge == pytest.approx(min(three.low, *others, 99.0), abs=1e-3)
    assert high - edge == pytest.approx(three.high, abs=1e-3)
    assert bounds([three], [61.0, *others]) is None


def test_what_is_typical_of_intervals_is_seen_whole_however_near_the_means_lie():
    near = [MeanInterval(mean, mean - 1, mean + 1, 8) for mean in (60.0, 60.1, 60.2)]
    assert bounds(near) is None


@pytest.mark.parametrize("methods", [("moco",), ("moco", "simclr")])
def test_a_forest_is_the_comparison_as_a_picture(store, methods):
    study(store, arms=4, seeds=4, methods=methods)
    metrics = parse_metrics("top1,throughput")
    comparison = compare(store.runs(), metrics, baseline="none", margins={"top1": 1.0})
    shown = ForestPicture().gather_comparison(comparison)
    rows = {row.label: row.metrics for row in comparison.rows if row.reference is not None}
    arms = [arm for row in shown.rows for arm in row.arms]
    assert sorted(arm.label for arm in arms) == sorted(rows)
    for arm in arms:
        for name, change in arm.changes.items():
            paired = rows[arm.label][name].baseline
            known = (paired.value, paired.low, paired.high, paired.n)
            assert (change.mean, change.low, change.high, change.n) == known
    scopes = list(SCOPES[1:4])
    if len(methods) == 1:
        assert shown.names == [arm.label for arm in arms] == list(shown.looks)
        assert all(
            look == arm_looks(comparison.arms.arms)[name] for name, look in shown.looks.items()
        )
    else:
        assert shown.names == ["moco", "simclr"]  # the title has the scope
        assert all(sorted(arm.series for arm in row.arms) == sorted(scopes) for row in shown.rows)
        assert sorted(shown.looks) == sorted(scopes)
    assert shown.axis_label(metrics[0]) == "top1 - none [points], higher is better"
    assert shown.axis_label(metrics[1]) == "throughput / none, higher is better"
    panels = draw_forest(shown).subfigs[1].axes
    assert [len(panel.containers) for panel in panels] == [len(shown.looks)] * 2
    assert [panel.get_ylim() for panel in panels] == [panels[0].get_ylim()] * 2
    figures = ForestPicture.page_figures(shown)
    assert [figure["x"]["line"] for figure in figures] == [0, 1]
    places = [point["at"] for each in figures[0]["series"] for point in each["points"]]
    assert sorted(places) == sorted(k for k, row in enumerate(shown.rows) for _ in row.arms)


def test_a_forest_says_what_it_cannot_show(store):
    complete(store, plan(ema_scope="none"), top1=60.0)
    complete(store, plan(ema_scope="full", seed=1), top1=61.0)
    with pytest.raises(NotFoundError, match="no change to draw"):
        ForestPicture().gather_comparison(compare(store.runs(), parse_metrics("top1")))
    complete(store, plan(ema_scope="full"), top1=61.0)
    complete(store, plan(ema_scope="projector", seed=1), top1=61.0)
    shown = ForestPicture().gather_comparison(
        compare(store.runs(), parse_metrics("top1"), baseline="none")
    )
    assert (shown.names, shown.interval) == (["full"], "no interval yet")
    assert "without a pair, left out: projector" in shown.notes
