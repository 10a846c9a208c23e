"""What a comparison reads from the store beside the records of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.records import RunRecord

if TYPE_CHECKING:
    from emabench.store import RunStore


def read_measured(
    store: RunStore, runs: Sequence[RunRecord], metrics: Sequence[MetricInfo]
) -> MetricValues:
    """Read what a comparison of these runs by these metrics needs: some queries for all of them."""
    ids = [run.id for run in runs]
    series = {metric.series for metric in metrics if metric.series is not None}
    accuracies = [metric.name for metric in metrics if metric.role == "accuracy"]
    has_costs = any(metric.role == "cost" for metric in metrics)
    return MetricValues(
        series={name: store.series_means(ids, name) for name in sorted(series)},
        correct=store.correct_of(ids, accuracies) if accuracies else {},
        neighbours=store.neighbours(ids) if has_costs else {},
    )
