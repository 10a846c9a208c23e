"""Where the time goes: a stacked bar per arm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emabench.report.figures.arm_axis import name_arms
from emabench.report.figures.cost_data import CostBreakdown
from emabench.report.figures.pareto import error_bars
from emabench.report.figures.sheet import (
    HATCHES,
    INK,
    interval_in_words,
    new_sheet,
    seeds_in_words,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.36
"""Inches for one arm."""


def draw_cost(shown: CostBreakdown, path: Path, *, source: str = "") -> None:
    """Draw a bar per arm: its phases one after the other, and the whole as a mark with interval.

    Args:
        shown: what to draw.
        path: of the picture; its ending says the format.
        source: where the figures come from, see ``sheet.source_line``.

    Raises:
        EmabenchError: the file cannot be written.
    """
    counts = [bar.n for bar in shown.bars]
    sheet = new_sheet(
        9.5,
        max(3.0, 1.0 + _BAR * len(counts)),
        title=f"time of a {shown.of} by phase · {seeds_in_words(counts)}, means over them · "
        + interval_in_words(counts),
        source=source,
    )
    panel = sheet.body.subplots()
    handles, labels = [], []
    ends = [0.0] * len(counts)
    for place, phase in enumerate(shown.phases):
        widths = [bar.parts.get(phase, 0.0) for bar in shown.bars]
        look = {"color": shade(place, len(shown.phases)), "hatch": HATCHES[place % len(HATCHES)]}
        handles.append(_stack(panel, ends, widths, look))
        labels.append(phase.rpartition("_")[0].replace("_", " "))
    rests = [bar.rest for bar in shown.bars]
    if any(rests):
        handles.append(_stack(panel, ends, rests, {"color": "white"}))
        labels.append("in no phase" if shown.phases else "phases not measured")
    measured = [(at, bar.total) for at, bar in enumerate(shown.bars) if bar.total is not None]
    if measured:
        totals = [total for _, total in measured]
        mark = panel.errorbar(
            [total.mean for total in totals],
            [at for at, _ in measured],
            xerr=error_bars(totals),
            fmt="D",
            color=INK,
            markerfacecolor="white",
            markersize=5,
            elinewidth=1.2,
            capsize=3,
        )
        handles.append(mark)
        labels.append(f"{shown.total_name}, measured as a whole")
    name_arms(panel, [(bar.label, bar.n) for bar in shown.bars])
    panel.set_xlabel(f"{'milliseconds a step' if shown.of == 'step' else 'seconds a run'}")
    panel.set_xlim(left=0)
    panel.grid(alpha=0.3, axis="x")
    panel.set_axisbelow(True)
    sheet.add_legend(handles, labels, "phase")
    sheet.save(path)


def _stack(panel: Axes, ends: list[float], widths: list[float], look: dict[str, Any]) -> Any:
    """Draw one phase of every arm where the one before ended, and move the ends on."""
    bars = panel.barh(
        range(len(ends)), widths, left=ends, height=0.68, edgecolor=INK, linewidth=0.6, **look
    )
    for place, width in enumerate(widths):
        ends[place] += width
    return bars
