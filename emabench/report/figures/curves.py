"""Learning curves: a metric of the training against epochs, and against the training's time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from emabench.analysis.metric_values import MetricValues, told_points
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UnknownNameError
from emabench.records import MetricPoint, RunRecord
from emabench.report.figures._arm_looks import ArmLook, arm_looks
from emabench.report.figures._axes import bounds, page_axis, page_mark, rounded, thinned
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, left_out, option
from emabench.report.figures._sheet import (
    MANY,
    height_with_legend,
    interval_in_words,
    new_sheet,
    seeds_in_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OF_PAGE = ("online_top1", "loss", "embedding_std", "effective_rank")
"""What a page shows, as far as runs hold it."""
_METRIC_UNITS = {"online_top1": "%"}
_MARKS = 8
"""Marks on a curve, about: more would hide it."""
_WIDTH = 11.0
"""Inches."""
_TIME_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


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
    looks: Mapping[str, ArmLook]
    notes: tuple[str, ...] = ()

    @property
    def axis(self) -> str:
        """The metric with its unit."""
        unit = _METRIC_UNITS.get(self.metric)
        return self.metric if unit is None else f"{self.metric} [{unit}]"

    @property
    def values(self) -> list[MeanInterval]:
        """Those of all curves."""
        return [point.value for course in self.courses for point in course.points]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "metric": self.metric,
            "axis": self.axis,
            "courses": [asdict(course) for course in self.courses],
            "notes": list(self.notes),
        }


def seconds_by_epoch(run: RunRecord, points: Sequence[MetricPoint]) -> dict[int, float]:
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
    return {point.epoch: point.step * per_step for point in points}


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


def _nothing(metric: str, names: set[str]) -> NotFoundError | UnknownNameError:
    drawable = {name for name in names if ":" not in name}
    if drawable - {metric}:
        return UnknownNameError("metric of the training", metric, drawable - {metric})
    return NotFoundError(
        f"no run recorded {metric}",
        hint="runs record their metrics at the end of every epoch; emabench show lists them",
    )


def draw_curves(shown: Curves, *, source: str = "") -> Figure:
    """Draw two panels that share their height: one line per arm, with a band where seeds allow it.

    Args:
        shown: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    from matplotlib.ticker import MaxNLocator

    counts = [course.n for course in shown.courses]
    labels = [f"{course.label} (n={course.n})" for course in shown.courses]
    crowded = len(shown.courses) > MANY
    upright = None if crowded else bounds(shown.values)
    bands = interval_in_words(counts, "bands", cut=upright is not None)
    sheet = new_sheet(
        _WIDTH,
        height_with_legend(5.5 if crowded else 4.0, labels, _WIDTH),
        title=f"{shown.metric} during training · {seeds_in_words(counts)} · "
        + ("without bands, which would hide each other" if crowded else bands),
        source=source,
    )
    by_epoch, by_time = sheet.body.subplots(1, 2, sharey=True)
    scale, unit = _time_unit(shown.courses)
    handles = []
    for course in shown.courses:
        look = _look(shown.looks[course.label], course)
        epochs = [float(point.epoch) for point in course.points]
        handles.append(_draw(by_epoch, epochs, course, look, band=not crowded))
        if course.is_timed:
            seconds = [(point.seconds or 0.0) / scale for point in course.points]
            _draw(by_time, seconds, course, look, band=not crowded)
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_epoch.set_xlabel("epoch")
    by_epoch.set_ylabel(shown.axis)
    by_time.set_xlabel(f"time of training [{unit}]")
    if not any(course.is_timed for course in shown.courses):
        by_time.text(0.5, 0.5, "time unknown", ha="center", transform=by_time.transAxes)
    if upright is not None:
        by_epoch.set_ylim(upright)
    for panel in (by_epoch, by_time):
        panel.grid(alpha=0.3)
    sheet.add_legend(handles, labels, "arm")
    return sheet.figure


def _look(look: ArmLook, course: Course) -> dict[str, Any]:
    return {
        "color": look.shade,
        "linestyle": look.dashes,
        "marker": look.marker,
        "markersize": 4.5,
        "markevery": max(1, len(course.points) // _MARKS),
        "linewidth": 1.4,
    }


def _draw(
    panel: Axes, places: Sequence[float], course: Course, look: dict[str, Any], *, band: bool
) -> Any:
    values = [point.value for point in course.points]
    (line,) = panel.plot(places, [value.mean for value in values], **look)
    if band and all(value.low is not None for value in values):
        lows = [value.mean if value.low is None else value.low for value in values]
        highs = [value.mean if value.high is None else value.high for value in values]
        panel.fill_between(places, lows, highs, color=look["color"], alpha=0.13, linewidth=0)
    return line


def _time_unit(courses: Sequence[Course]) -> tuple[float, str]:
    """Return the unit in which the longest training is a readable number, and its seconds."""
    longest = max((p.seconds or 0.0 for course in courses for p in course.points), default=0.0)
    return next((unit for unit in _TIME_UNITS if longest >= 3 * unit[0]), _TIME_UNITS[-1])


def curves_figures(shown: Curves) -> list[PageFigure]:
    """Return what a page draws: against epochs, and against the time where that is known.

    Many curves have no bands, which would hide each other.
    """
    banded = len(shown.courses) <= MANY
    timed = [course for course in shown.courses if course.is_timed]
    axes = [("epoch", shown.courses)]
    axes += [("time of training [s]", tuple(timed))] if timed else []
    return [
        {
            "kind": "xy",
            "title": f"{shown.metric} against {axis.partition(' [')[0]}",
            "x": {"label": axis, "whole": axis == "epoch"},
            "y": page_axis(shown.axis, shown.values if banded else ()),
            "series": [
                {
                    "name": f"{course.label} (n={course.n})",
                    "line": True,
                    "band": banded,
                    "look": shown.looks[course.label].to_json(),
                    "points": [
                        {
                            "x": rounded(float(p.epoch) if axis == "epoch" else p.seconds),
                            **(page_mark("y", p.value) if banded else {"y": rounded(p.value.mean)}),
                        }
                        for p in thinned(course.points)
                    ],
                }
                for course in courses
            ],
        }
        for axis, courses in axes
    ]


@dataclass(frozen=True)
class CurvesPicture(Picture):
    """Draw learning curves against epochs, and against the time of training.

    Examples:
        emabench plot curves -o curves.png
        emabench plot curves --metric loss --where method=simclr -o loss.svg
    """

    metric: str = option(
        "online_top1",
        "NAME",
        "What was recorded at the end of every epoch: online_top1, loss, effective_rank…",
    )

    places = (3, 3)
    heading = "Learning curves"
    caption = (
        "Means over seeds; bands are 95 % intervals. The time of training is the step times the "
        "mean seconds of a step; evaluation is not in it."
    )
    has_times = True
    draw = staticmethod(draw_curves)
    page_figures = staticmethod(curves_figures)

    @property
    def points(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield what tells most of a training."""
        return map(cls, _OF_PAGE)

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> Curves:
        """Gather a metric that was recorded at the end of every epoch.

        Raises:
            UnknownNameError: no run recorded a metric of this name, but runs recorded others.
            NotFoundError: no run recorded any.
        """
        metric = self.metric
        names: set[str] = set()
        courses, missing, untimed = [], [], []
        for shown in arms.arms:
            by_seed: dict[int, dict[int, float]] = {}
            for seed, run in shown.runs.items():
                own = told_points(run, values.points.get(run.id, ()))
                names.update(point.name for point in own)
                curve = {
                    p.epoch: p.value for p in own if p.name == metric and math.isfinite(p.value)
                }
                if curve:
                    by_seed[seed] = curve
            times = {
                seed: seconds_by_epoch(run, values.points.get(run.id, ()))
                for seed, run in shown.runs.items()
                if seed in by_seed
            }
            course = Course(shown.label, len(by_seed), _points(by_seed, times))
            if not by_seed:
                missing.append(shown.label)
                continue
            courses.append(course)
            if not course.is_timed:
                untimed.append(shown.label)
        if not courses:
            raise _nothing(metric, names)
        notes = [*arms.notes, *left_out(f"without {metric}", missing)]
        if untimed:
            notes.append(f"time of training unknown, shown by epochs only: {', '.join(untimed)}")
        return Curves(metric, tuple(courses), arm_looks(arms.arms), tuple(notes))
