"""How gradients fluctuate, arm by arm; and which runs collapsed."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from emabench.analysis.comparison import compare
from emabench.analysis.curves.stability import block_rank, stability
from emabench.analysis.metric_values import MetricValues, told_points, wanted_values
from emabench.analysis.metrics import is_collapsed, parse_metrics
from emabench.analysis.selection import select
from emabench.errors import NotFoundError, UnknownNameError, UsageError
from emabench.records import JobState, MetricPoint, RunRecord
from emabench.report.figures._sheet import check_path, save_figure
from emabench.report.figures.stability import draw_stability
from emabench.report.tables.run_table import reading_table, run_values

BLOCKS = ("stem", "layer1", "projector")


def run(scope, seed, *, method="moco", gradient="detach", results=None):
    spec = {
        "pretrain": {
            "method": {"name": method},
            "ema": {"scope": scope, "target_gradient": gradient},
            "seed": seed,
        },
        "evaluation": {},
    }
    return RunRecord(
        id=f"{method[:2]}{scope[:4]}{gradient[:1]}{seed}",
        name=None,
        smoke=False,
        command=None,
        state=JobState.DONE,
        spec=spec,
        identity={},
        fingerprint="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        results=results or {"top1": 50.0 + seed},
    )


def value(scope, seed, block, epoch):
    return len(scope) + 10 * seed + BLOCKS.index(block) + epoch / 10


def metrics(runs, quantity="grad_norm_cv"):
    found = {
        each.id: [
            MetricPoint(10 * epoch, epoch, f"{quantity}:{block}", value(scope, seed, block, epoch))
            for epoch in (1, 2, 3)
            for block in BLOCKS
        ]
        for each in runs
        for scope, seed in [(each.spec["pretrain"]["ema"]["scope"], each.spec["pretrain"]["seed"])]
    }
    return lambda run_id: [MetricPoint(10, 1, "loss", 1.0), *found.get(run_id, [])]


def test_a_block_has_its_mean_over_epochs_and_its_spread_over_seeds():
    runs = [run(scope, seed) for scope in ("full", "none", "projector") for seed in (0, 1, 2)]
    shown = stability(select(runs, smoke=False), metrics(runs))
    assert [arm.label for arm in shown.arms] == ["none", "projector", "full"]
    assert shown.blocks == list(BLOCKS)
    course = shown.arms[2].blocks[1]
    seeds = [
        statistics.fmean(value("full", seed, "layer1", epoch) for epoch in (1, 2, 3))
        for seed in (0, 1, 2)
    ]
    assert course.overall.mean == pytest.approx(statistics.fmean(seeds))
    assert course.overall.sd == pytest.approx(statistics.stdev(seeds))
    assert course.overall.n == 3
    at_two = [value("full", seed, "layer1", 2) for seed in (0, 1, 2)]
    assert course.epochs[2].mean == pytest.approx(statistics.fmean(at_two))


def test_the_table_and_the_json_hold_the_same_numbers():
    runs = [run(scope, seed) for scope in ("none", "full") for seed in (0, 1)]
    shown = stability(select(runs, smoke=False), metrics(runs))
    table, values = shown.to_table(), json.loads(json.dumps(shown.to_json()))
    assert table.headers == ("block", "none (n=2)", "full (n=2)")
    for column, arm in enumerate(values["arms"], start=1):
        for row, block in zip(table.rows, arm["blocks"], strict=True):
            assert row[0] == block["block"]
            assert row[column] == f"{block['mean']:.3g} ± {block['sd']:.2g}"
    exact = [
        {"arm": arm["label"], **{key: block[key] for key in ("block", "mean", "sd", "n")}}
        for arm in values["arms"]
        for block in arm["blocks"]
    ]
    assert shown.to_data().to_records() == exact


def test_every_run_has_a_line_of_its_own():
    runs = [run(scope, seed) for scope in ("none", "full") for seed in (0, 1)]
    points = metrics(runs)
    shown = stability(
        select(runs, smoke=False), lambda id_: [] if id_ == "mononed1" else points(id_)
    )
    table = shown.to_run_table()
    assert table.headers == ("arm", "seed", "id", *BLOCKS)
    # The mean over the epochs 1, 2, 3 is the value at epoch 2.
    assert list(table.rows) == [
        (scope, seed, f"mo{scope}d{seed}", *(f"{value(scope, seed, b, 2):.3g}" for b in BLOCKS))
        for scope, seed in (("none", 0), ("full", 0), ("full", 1))
    ]
    block = shown.to_json()["arms"][1]["blocks"][0]
    lines = shown.to_run_table(exact=True).to_records()[1:]
    assert [line["stem"] for line in lines] == [each["value"] for each in block["seeds"]]
    assert [each["value"] for each in block["seeds"]] == pytest.approx(
        [value("full", seed, "stem", 2) for seed in (0, 1)]
    )


def test_methods_and_control_arms_are_told_apart():
    runs = [
        run("none", 0),
        run("none", 0, method="simclr", gradient="attach"),
        run("none", 0, method="simclr", gradient="detach"),
    ]
    labels = [arm.label for arm in stability(select(runs, smoke=False), metrics(runs)).arms]
    assert labels == [
        "moco none",
        "simclr none target_gradient=attach",
        "simclr none target_gradient=detach",
    ]


def test_one_seed_has_no_spread_and_runs_without_it_are_noted():
    runs = [run("none", 0), run("full", 0)]
    shown = stability(select(runs, smoke=False), metrics(runs[:1]))
    assert [arm.blocks[0].overall.sd for arm in shown.arms] == [None]
    assert "±" not in shown.to_table().rows[0][1]
    assert shown.notes == ("1 run without grad_norm_cv left out",)


def test_nothing_measured_and_a_typo_are_explained():
    with pytest.raises(NotFoundError, match="no run has grad_norm_cv"):
        stability(select([run("none", 0)], smoke=False), lambda run_id: [])
    with pytest.raises(UnknownNameError) as caught:
        stability(select([], smoke=False), lambda run_id: [], "grad_cosin")
    assert "grad_cosine" in caught.value.hint


def test_blocks_stand_in_the_order_of_the_network():
    blocks = ["block10", "projector", "stage2", "stem", "block2"]
    assert sorted(blocks, key=block_rank) == ["stem", "block2", "stage2", "block10", "projector"]


@pytest.mark.parametrize("count", [1, 3, 12])
def test_a_picture_has_a_panel_per_arm_and_a_line_per_block(tmp_path, count):
    runs = [run(f"{'x' * index}none", seed) for index in range(count) for seed in (0, 1)]
    shown = stability(select(runs, smoke=False), metrics(runs))
    path = tmp_path / "picture.svg"
    save_figure(draw_stability(shown), path)
    text = path.read_text("utf-8")
    groups = [each.get("id", "") for each in ElementTree.fromstring(text).iter()]
    panels = [name for name in groups if name.startswith("axes_")]
    assert len(panels) >= count
    assert text.count("(n=2)") == count
    for ending in ("png", "pdf"):
        save_figure(draw_stability(shown), tmp_path / f"picture.{ending}")
        assert (tmp_path / f"picture.{ending}").stat().st_size > 1000


def test_a_picture_that_cannot_be_written_is_refused_first(tmp_path):
    with pytest.raises(UsageError, match=r"x\.jpg"):
        check_path(tmp_path / "x.jpg")
    with pytest.raises(UsageError, match="there is no folder"):
        check_path(tmp_path / "nowhere" / "x.png")


def test_a_collapsed_run_is_flagged_wherever_it_is_shown():
    healthy = run("full", 0, results={"top1": 80.0, "embedding_std": 0.9})
    collapsed = run("none", 0, results={"top1": 30.0, "embedding_std": 0.01})
    unknown = run("projector", 0)
    assert [is_collapsed(each) for each in (healthy, collapsed, unknown)] == [False, True, None]
    rows = {row[0]: row[2] for row in reading_table([healthy, collapsed, unknown]).rows}
    assert rows == {healthy.id: "done", collapsed.id: "done, collapsed", unknown.id: "done"}
    assert run_values(collapsed)["collapsed"] is True
    comparison = compare([healthy, collapsed, unknown], parse_metrics("top1"))
    assert f"1 run collapsed: {collapsed.id}" in comparison.warnings
    assert not [w for w in compare([healthy], parse_metrics("top1")).warnings if "collapsed" in w]


@pytest.mark.parametrize(("every", "kept"), [(2, [1, 2, 3]), (5, [1, 2, 3]), (8, [1]), (30, [])])
def test_a_coefficient_of_variation_of_few_samples_is_left_out(every, kept):
    # Steps 0-9, 10-19, 20-29. Of pairs at 0, 8, 16, 24 the first epoch has all four steps, the
    # others two; with 5 every epoch has four.
    one = run("projector", 0)
    one.spec["pretrain"]["monitors"] = {"gradient_every": every}
    points = metrics([one])
    if kept:
        found = stability(select([one], smoke=False), points, "grad_norm_cv")
        epochs = found.arms[0].blocks[0].epochs
        assert list(epochs) == kept
    else:
        with pytest.raises(NotFoundError):
            stability(select([one], smoke=False), points, "grad_norm_cv")
    compared = parse_metrics("grad_cv:stem,min:grad_norm_cv:stem")
    wanted = wanted_values(compared)
    assert not wanted.means
    read = [point for point in points(one.id) if point.name in wanted.points]
    seen = MetricValues(points={one.id: read})
    mean = (
        statistics.fmean(value("projector", 0, "stem", epoch) for epoch in kept) if kept else None
    )
    assert [seen.value(metric, one) for metric in compared] == [mean, mean]
    told = told_points(one, points(one.id))
    assert [point.epoch for point in told if point.name == "grad_norm_cv:stem"] == kept
    assert any(point.name == "loss" for point in told)
