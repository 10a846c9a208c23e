"""Learning curves: a metric of the training against epochs, and against the training's time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UnknownNameError
from emabench.records import MetricPoint, RunRecord

MetricsOf = Callable[[str], Sequence[MetricPoint]]
"""Gives the metrics of a run by its id."""

DEFAULT_CURVE = "online_top1"
CURVE_UNITS = {"online_top1": "%"}


@dataclass(frozen=True)
class CurvePoint:
    """The end of one epoch, over the seeds; ``seconds`` of training until then, None if unknown."""

    epoch: int
    seconds: float | None
    value: MeanInterval


@dataclass(frozen=True)
class Course:
    """The curve of one arm, with the number of its seeds."""

    label: str
    n: int
    points: tuple[CurvePoint, ...]

    @property
    def is_timed(self) -> bool:
        """Whether the time of every point is known."""
        return all(point.seconds is not None for point in self.points)


@dataclass(frozen=True)
class Curves:
    """A metric over the epochs, arm by arm."""

    metric: str
    courses: tuple[Course, ...]
    notes: tuple[str, ...] = ()

    @property
    def axis(self) -> str:
        """The metric with its unit."""
        unit = CURVE_UNITS.get(self.metric)
        return self.metric if unit is None else f"{self.metric} [{unit}]"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "metric": self.metric,
            "axis": self.axis,
            "courses": [asdict(course) for course in self.courses],
            "notes": list(self.notes),
        }


def curves(chosen: Arms, metrics_of: MetricsOf, metric: str = DEFAULT_CURVE) -> Curves:
    """Gather a metric that was recorded at the end of every epoch.

    Args:
        chosen: the arms.
        metrics_of: gives the metrics of a run by its id.
        metric: its name.

    Raises:
        UnknownNameError: no run recorded a metric of this name, but runs recorded others.
        NotFoundError: no run recorded any.
    """
    names: set[str] = set()
    courses, missing, untimed = [], [], []
    for shown in chosen.arms:
        values: dict[int, dict[int, float]] = {}
        for seed, run in shown.runs.items():
            points = metrics_of(run.id)
            names.update(point.name for point in points)
            curve = {p.epoch: p.value for p in points if p.name == metric and _is_finite(p)}
            if curve:
                values[seed] = curve
        times = {seed: seconds_by_epoch(shown.runs[seed], metrics_of) for seed in values}
        course = Course(shown.label, len(values), _points(values, times))
        if not values:
            missing.append(shown.label)
            continue
        courses.append(course)
        if not course.is_timed:
            untimed.append(shown.label)
    if not courses:
        raise _nothing(metric, names)
    notes = list(chosen.notes)
    if missing:
        notes.append(f"without {metric}, left out: {', '.join(missing)}")
    if untimed:
        notes.append(f"time of training unknown, shown by epochs only: {', '.join(untimed)}")
    return Curves(metric, tuple(courses), tuple(notes))


def seconds_by_epoch(run: RunRecord, metrics_of: MetricsOf) -> dict[int, float]:
    """Return the seconds of training at the end of each epoch; empty where they are unknown.

    They are the step that the epoch ended with times the mean seconds of a step: ``warmup_s`` and
    ``train_s`` of all attempts over the steps that these made. Evaluation, probe and monitors are
    not in it.
    """
    cost = run.cost
    parts = [seconds for seconds in (cost.warmup_s, cost.train_s) if seconds is not None]
    if cost.train_s is None or not cost.steps:
        return {}
    per_step = math.fsum(parts) / cost.steps
    return {point.epoch: point.step * per_step for point in metrics_of(run.id)}


def _points(
    values: Mapping[int, Mapping[int, float]], times: Mapping[int, Mapping[int, float]]
) -> tuple[CurvePoint, ...]:
    points = []
    for epoch in sorted({epoch for curve in values.values() for epoch in curve}):
        there = [seed for seed, curve in values.items() if epoch in curve]
        estimate = MeanInterval.of(values[seed][epoch] for seed in there)
        if estimate is None:
            continue
        seconds = [times[seed][epoch] for seed in there if epoch in times[seed]]
        known = len(seconds) == len(there)
        points.append(CurvePoint(epoch, float(np.mean(seconds)) if known else None, estimate))
    return tuple(points)


def _is_finite(point: MetricPoint) -> bool:
    return math.isfinite(point.value)


def _nothing(metric: str, names: set[str]) -> NotFoundError | UnknownNameError:
    drawable = {name for name in names if ":" not in name}
    if drawable - {metric}:
        return UnknownNameError("metric of the training", metric, drawable - {metric})
    return NotFoundError(
        f"no run recorded {metric}",
        hint="runs record their metrics at the end of every epoch; emabench show lists them",
    )
