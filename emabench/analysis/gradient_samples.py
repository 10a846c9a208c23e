"""Coefficients of variation that were stored of too few gradients: they are told nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from emabench.records import FEWEST_GRADIENT_SAMPLES, MetricPoint, RunRecord
from emabench.spec.paths import value_at

EVERY_EPOCH = "loss"
"""A metric that is there of every epoch, so that its points tell where each ends."""
_EVERY = "pretrain.monitors.gradient_every"


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
