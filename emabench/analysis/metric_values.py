"""Figures of runs that stand beside their records, and the value of a metric from either.

Coefficients of variation that were stored of too few gradients are shown nowhere.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cached_property

from emabench.analysis.benched import Benches
from emabench.analysis.metrics import MetricInfo
from emabench.records import (
    FEWEST_GRADIENT_SAMPLES,
    MetricPoint,
    RunRecord,
    RunValues,
    WantedValues,
)
from emabench.spec.paths import value_at

EVERY_EPOCH = "loss"
"""A metric that is there of every epoch, so that its points tell where each ends."""
_EVERY = "pretrain.monitors.gradient_every"


class MetricValues(RunValues):
    """Figures beside the records of runs, and the value of a metric from either."""

    @classmethod
    def of(cls, values: RunValues) -> MetricValues:
        """Look at the values that a store gave."""
        return cls(**vars(values))

    def value(self, metric: MetricInfo, run: RunRecord) -> float | None:
        """Return the value of a metric; None where it is unknown or not finite."""
        value = self.by_bench.step_ms(run) if metric.over == "steps" else metric.read(run)
        if value is None and metric.series is not None:
            if is_coefficient(metric.series):
                value = self._mean_of_told(metric.series, run)
            else:
                value = self.series.get(metric.series, {}).get(run.id)
        return None if value is None or not math.isfinite(value) else float(value)

    @cached_property
    def by_bench(self) -> Benches:
        """What the benches of the store say."""
        return Benches.of(self.benches, self.points)

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
        neighbours=any(metric.is_disturbed for metric in metrics),
        benches=any(metric.over == "steps" for metric in metrics),
    )


def is_coefficient(name: str) -> bool:
    """Whether a metric is a coefficient of variation of the gradient monitor."""
    return name.startswith("grad_") and name.partition(":")[0].endswith("_cv")


def told_points(run: RunRecord, points: Sequence[MetricPoint]) -> list[MetricPoint]:
    """Return the points without coefficients of variation of fewer samples than they take.

    Args:
        run: whose they are.
        points: some of its metrics, among them one of every epoch, such as ``EVERY_EPOCH``.
    """
    every = value_at(run.spec, _EVERY)
    if not isinstance(every, int) or not any(is_coefficient(point.name) for point in points):
        return list(points)
    ends: dict[int, int] = {}
    for point in points:
        ends[point.epoch] = max(point.step, ends.get(point.epoch, 0))
    firsts, pairs, start = {}, {}, 0
    for epoch, end in sorted(ends.items()):
        firsts[epoch] = sum(step % every == 0 for step in range(start, end))
        pairs[epoch] = sum(step % every == 1 for step in range(start, end))
        start = end

    def is_told(point: MetricPoint) -> bool:
        if not is_coefficient(point.name):
            return True
        samples = pairs[point.epoch]
        if not point.name.startswith("grad_cosine"):  # a cosine comes with the second of a pair
            samples += firsts[point.epoch]
        return samples >= FEWEST_GRADIENT_SAMPLES

    return [point for point in points if is_told(point)]
