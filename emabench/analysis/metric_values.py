"""What a comparison reads from the store beside the records of the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emabench.analysis.metrics import MetricInfo
from emabench.records import RunRecord

if TYPE_CHECKING:
    from emabench.store import RunStore


@dataclass(frozen=True)
class MetricValues:
    """Figures of runs that their records do not hold; all of them may be empty.

    Attributes:
        series: by name of points, each run's mean over training.
        correct: by run and result, one packed bit per test image and the number of images.
        neighbours: by run, the other runs that worked on its device meanwhile.
    """

    series: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    correct: Mapping[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def value(self, metric: MetricInfo, run: RunRecord) -> float | None:
        """Return the value of a metric; None where it is unknown or not finite."""
        value = metric.read(run)
        if value is None and metric.series is not None:
            value = self.series.get(metric.series, {}).get(run.id)
        return None if value is None or not math.isfinite(value) else float(value)


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
