"""Figures of runs that stand beside their records, and the value of a metric from either."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emabench.analysis.metrics import MetricInfo
from emabench.records import MetricPoint, RunRecord


@dataclass(frozen=True)
class MetricValues:
    """Figures of runs that their records do not hold; all of them may be empty.

    Attributes:
        series: by name of points, each run's mean over training.
        correct: by run and result, one packed bit per test image and the number of images.
        neighbours: by run, the other runs that worked on its device meanwhile.
        points: by run, metrics of its training in the order of steps.
    """

    series: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    correct: Mapping[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    points: Mapping[str, Sequence[MetricPoint]] = field(default_factory=dict)

    def value(self, metric: MetricInfo, run: RunRecord) -> float | None:
        """Return the value of a metric; None where it is unknown or not finite."""
        value = metric.read(run)
        if value is None and metric.series is not None:
            value = self.series.get(metric.series, {}).get(run.id)
        return None if value is None or not math.isfinite(value) else float(value)
