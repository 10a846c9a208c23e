"""Figures of runs that stand beside their records, and the value of a metric from either."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emabench.analysis.metrics import MetricInfo
from emabench.records import RunRecord, RunValues, WantedValues


class MetricValues(RunValues):
    """Figures beside the records of runs, and the value of a metric from either."""

    @classmethod
    def of(cls, values: RunValues) -> MetricValues:
        """Look at the values that a store gave."""
        return cls(**vars(values))

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
