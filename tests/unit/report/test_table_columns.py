"""Which columns comparisons and lists of runs have, for readers and for programs."""

from __future__ import annotations

import pytest
from seeding import complete, plan

from emabench.analysis.comparison import compare
from emabench.analysis.metrics import parse_metrics
from emabench.errors import UnknownNameError
from emabench.records import MetricPoint, RunQuery
from emabench.report.tables import comparison_table, run_table
from emabench.report.tables.run_table import choose_runs
from emabench.store import RunStore


@pytest.fixture
def runs(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        for seed, top1 in ((0, 60.0), (1, 62.0)):
            complete(store, plan(ema_scope="full", seed=seed), top1=top1, throughput=700.0)
            complete(store, plan(ema_scope="none", seed=seed), top1=top1 + 1 + seed / 3)
        complete(store, plan(smoke=True, seed=5))
        store.add_run(plan(seed=7))
        return store.runs(RunQuery(smoke=True))


def test_the_comparison_to_read_is_rounded(runs):
    comparison = compare(runs, parse_metrics("top1,throughput,ema_bytes"))
    table = comparison_table.reading_table(comparison)
    assert table.headers == (
        "ema_scope",
        "n",
        "top1 [%]",
        "top1 - full",
        "throughput [images/s]",
        "throughput / full",
        "ema_bytes [MiB]",
        "ema_bytes / full",
        "cheaper, not worse",
    )
    none, full = table.rows
    assert none[2:5] == ("62.17 ± 1.65", "+1.17 [-0.95, +3.28]", "1000 ± 0")
    assert none[5] == "1.429 [1.429, 1.429]"
    assert full[2:4] == ("61.00 ± 1.41", "baseline")
    assert full[7:] == ("baseline", "baseline")
    assert none[7:] == ("-", "undecided")


def test_the_comparison_to_compute_with_is_complete(runs):
    comparison = compare(runs, parse_metrics("top1"))
    (none, full) = comparison_table.data_table(comparison).to_records()
    assert none["top1_mean"] == pytest.approx((61 + 62 + 4 / 3) / 2)
    assert none["top1_difference"] == pytest.approx(7 / 6)
    assert none["top1_difference_n"] == 2
    assert full["top1_difference"] is None
    assert none["seeds"] == (0, 1)


def test_headers_of_differing_fields_are_short_but_distinct(tmp_path):
    with RunStore.open(str(tmp_path / "more.db"), mode="write") as store:
        complete(store, plan())
        complete(store, plan(epochs=7, backbone="resnet34", pretrain__optimizer__name="adamw"))
        table = comparison_table.reading_table(compare(store.runs(), parse_metrics("top1")))
    assert table.headers[1:4] == ("backbone.name", "epochs", "optimizer.name")


def test_runs_are_listed_with_every_reading_in_full(runs):
    table = run_table.data_table(runs)
    first = table.to_records()[0]
    assert (first["ema_scope"], first["top1"], first["throughput"]) == ("full", 60.0, 700.0)
    assert first["energy_j"] is None
    assert len(run_table.reading_table(runs).rows) == len(runs)
    assert run_table.data_table([]).rows == ()


def test_the_runs_that_are_listed(runs):
    chosen, notes = choose_runs(runs, state=None, smoke=False, limit=None)
    assert len(chosen) == 5
    assert notes == ["hint: 1 smoke run left out; --smoke lists them too"]
    chosen, notes = choose_runs(runs, state="queued", smoke=True, limit=None)
    assert ([run.state for run in chosen], notes) == (["queued"], [])
    chosen, _ = choose_runs(runs, state=None, smoke=True, limit=2)
    assert chosen == runs[-2:]
    assert choose_runs(runs, state="failed", smoke=True, limit=None)[1][0] == "no runs"
    assert choose_runs([], state=None, smoke=False, limit=None)[0] == []
    with pytest.raises(UnknownNameError):
        choose_runs(runs, state="don", smoke=False, limit=None)


def test_the_last_point_of_each_metric():
    points = [MetricPoint(2, 1, "b", 1.0), MetricPoint(1, 1, "a", 2.0), MetricPoint(1, 1, "b", 3.0)]
    assert run_table.last_points(points) == [points[1], points[0]]
