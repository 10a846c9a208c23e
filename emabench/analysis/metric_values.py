"""Figures of runs that stand beside their records, and the value of a metric from either."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emabench.analysis.metrics import MetricInfo
from emabench.records import RunRecord, RunValues, WantedValues


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

    @classmethod
    def of(cls, values: RunValues) -> MetricValues:
        """Return what a comparison looks at of the values that a store gave."""
        return cls(values.series, values.correct, values.neighbours)

    def value(self, metric: MetricInfo, run: RunRecord) -> float | None:
        """Return the value of a metric; None where it is unknown or not finite."""
        value = metric.read(run)
        if value is None and metric.series is not None:
            value = self.series.get(metric.series, {}).get(run.id)
        return None if value is None or not math.isfinite(value) else float(value)


def wanted_values(
    metrics: Sequence[MetricInfo], points: tuple[str, ...] | None = ()
) -> WantedValues:
    """Return what the store is asked for beside the records, for a comparison by some metrics.

    Args:
        metrics: those that are compared.
        points: as in ``WantedValues``.
    """
    return WantedValues(
        means=tuple(sorted({metric.series for metric in metrics if metric.series is not None})),
        correct=tuple(metric.name for metric in metrics if metric.role == "accuracy"),
        points=points,
        neighbours=any(metric.role == "cost" for metric in metrics),
    )
