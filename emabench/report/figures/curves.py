"""Learning curves against epochs, and against the time of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emabench.report.figures.curves_data import Course, Curves
from emabench.report.figures.reach import bounds
from emabench.report.figures.sheet import (
    DASHES,
    MARKERS,
    interval_in_words,
    legend_height,
    new_sheet,
    seeds_in_words,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = 8
"""Marks on a curve, about: more would hide it."""
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


def draw_curves(shown: Curves, path: Path, *, source: str = "") -> None:
    """Draw two panels that share their height: one line per arm, with a band where seeds allow it.

    Args:
        shown: what to draw.
        path: of the picture; its ending says the format.
        source: where the figures come from, see ``sheet.source_line``.

    Raises:
        EmabenchError: the file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    counts = [course.n for course in shown.courses]
    labels = [f"{course.label} (n={course.n})" for course in shown.courses]
    upright = bounds([point.value for course in shown.courses for point in course.points])
    sheet = new_sheet(
        11.0,
        max(4.0, legend_height(labels)),
        title=f"{shown.metric} during training · {seeds_in_words(counts)} · "
        + interval_in_words(counts, "bands", cut=upright is not None),
        source=source,
    )
    by_epoch, by_time = sheet.body.subplots(1, 2, sharey=True)
    scale, unit = _time_unit(shown.courses)
    handles = []
    for place, course in enumerate(shown.courses):
        look = _look(place, len(shown.courses), course)
        epochs = [float(point.epoch) for point in course.points]
        handles.append(_draw(by_epoch, epochs, course, look))
        if course.is_timed:
            seconds = [(point.seconds or 0.0) / scale for point in course.points]
            _draw(by_time, seconds, course, look)
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
    sheet.save(path)


def _look(place: int, count: int, course: Course) -> dict[str, Any]:
    return {
        "color": shade(place, count),
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4.5,
        "markevery": max(1, len(course.points) // _MARKS),
        "linewidth": 1.4,
    }


def _draw(panel: Axes, places: Sequence[float], course: Course, look: dict[str, Any]) -> Any:
    values = [point.value for point in course.points]
    (line,) = panel.plot(places, [value.mean for value in values], **look)
    if all(value.low is not None for value in values):
        lows = [value.mean if value.low is None else value.low for value in values]
        highs = [value.mean if value.high is None else value.high for value in values]
        panel.fill_between(places, lows, highs, color=look["color"], alpha=0.13, linewidth=0)
    return line


def _time_unit(courses: Sequence[Course]) -> tuple[float, str]:
    """Return the unit in which the longest training is a readable number, and its seconds."""
    longest = max((p.seconds or 0.0 for course in courses for p in course.points), default=0.0)
    return next((unit for unit in _UNITS if longest >= 3 * unit[0]), _UNITS[-1])
