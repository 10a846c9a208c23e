"""Figures of runs that stand beside their records, and the value of a metric from either."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from emabench.analysis.gradient_samples import EVERY_EPOCH, is_coefficient, told_points
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
            if is_coefficient(metric.series):
                value = self._mean_of_told(metric.series, run)
            else:
                value = self.series.get(metric.series, {}).get(run.id)
        return None if value is None or not math.isfinite(value) else float(value)

    def _mean_of_told(self, series: str, run: RunRecord) -> float | None:
        points = told_points(run, self.points.get(run.id, ()))
        # NaN is unknown.
        values = [p.value for p in points if p.name == series and p.value == p.value]
        return statistics.fmean(values) if values else None


def wanted_values(
    metrics: Sequence[MetricInfo], points: tuple[str, ...] | None = ()
) -> WantedValues:
    """Return what the store is asked for beside the records, for a comparison by some metrics.

    Args:
        metrics: those that are compared.
        points: as in ``WantedValues``.
    """
    series = sorted({metric.series for metric in metrics if metric.series is not None})
    coefficients = [name for name in series if is_coefficient(name)]
    if coefficients and points is not None:
        points = (*points, *coefficients, EVERY_EPOCH)
    return WantedValues(
        means=tuple(name for name in series if name not in coefficients),
        correct=tuple(metric.name for metric in metrics if metric.role == "accuracy"),
        points=points,
        neighbours=any(metric.role == "cost" for metric in metrics),
    )
