"""Accuracy against cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emabench.analysis.statistics import MeanInterval
from emabench.report.figures.axis import axis_label
from emabench.report.figures.pareto_data import Pareto, ParetoPoint
from emabench.report.figures.reach import bounds
from emabench.report.figures.sheet import (
    GREY,
    MARKERS,
    interval_in_words,
    legend_height,
    new_sheet,
    seeds_in_words,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRONT = "Pareto front (filled marks)"


def draw_pareto(shown: Pareto, path: Path, *, source: str = "") -> None:
    """Draw a mark per arm, with an interval in each direction, and the front as a staircase.

    Args:
        shown: what to draw.
        path: of the picture; its ending says the format.
        source: where the figures come from, see ``sheet.source_line``.

    Raises:
        EmabenchError: the file cannot be written.
    """
    counts = [point.value.n for point in shown.points]
    labels = [f"{point.label} (n={point.value.n})" for point in shown.points]
    across = bounds([point.cost for point in shown.points])
    upright = bounds([point.value for point in shown.points])
    sheet = new_sheet(
        8.0,
        max(4.2, legend_height([*labels, _FRONT])),
        title=f"{shown.metric.name} against {shown.cost.name} · {seeds_in_words(counts)} · "
        + interval_in_words(counts, cut=bool(across or upright)),
        source=source,
    )
    panel = sheet.body.subplots()
    handles = [
        _draw_point(panel, point, place, len(counts)) for place, point in enumerate(shown.points)
    ]
    if len(shown.points) > 1:
        handles.append(_draw_front(panel, shown))
        labels.append(_FRONT)
    panel.set_xlabel(axis_label(shown.cost, direction=True))
    panel.set_ylabel(axis_label(shown.metric, direction=True))
    panel.grid(alpha=0.3)
    panel.margins(0.08)
    if across is not None:
        panel.set_xlim(across)
    if upright is not None:
        panel.set_ylim(upright)
    sheet.add_legend(handles, labels, "arm")
    sheet.save(path)


def _draw_point(panel: Axes, point: ParetoPoint, place: int, count: int) -> Any:
    colour = shade(place, count)
    return panel.errorbar(
        [point.cost.mean],
        [point.value.mean],
        xerr=error_bars([point.cost]),
        yerr=error_bars([point.value]),
        fmt=MARKERS[place % len(MARKERS)],
        color=colour,
        markerfacecolor=colour if point.on_front else "white",
        markersize=8,
        elinewidth=1,
        capsize=3,
        zorder=3,
    )


def _draw_front(panel: Axes, shown: Pareto) -> Any:
    """Draw what the arms of the front make attainable: a staircase between them."""
    style: Literal["steps-pre", "steps-post"] = "steps-post"
    if shown.cost.higher_is_better:  # the cheaper arms are to the right
        style = "steps-pre"
    front = shown.front
    (line,) = panel.plot(
        [point.cost.mean for point in front],
        [point.value.mean for point in front],
        drawstyle=style,
        linestyle="dotted",
        linewidth=1.5,
        color=GREY,
        zorder=1,
    )
    return line


def error_bars(estimates: Sequence[MeanInterval]) -> list[list[float]]:
    """Return the lengths of the intervals below and above some means; 0 without an interval."""
    lows = [0.0 if each.low is None else each.mean - each.low for each in estimates]
    highs = [0.0 if each.high is None else each.high - each.mean for each in estimates]
    return [lows, highs]
