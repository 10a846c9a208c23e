"""Every seed of every arm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emabench.report.figures.arm_axis import name_arms
from emabench.report.figures.axis import axis_label
from emabench.report.figures.pareto import error_bars
from emabench.report.figures.reach import bounds
from emabench.report.figures.seeds_data import Seeds
from emabench.report.figures.sheet import (
    GREY,
    INK,
    MARKERS,
    interval_in_words,
    legend_height,
    new_sheet,
    seeds_in_words,
    shade,
)

_ROW = 0.42
"""Inches for one arm."""
_MEAN_BELOW = 0.24
"""The mean stands below the seeds of its arm, so that it hides none."""


def draw_seeds(shown: Seeds, path: Path, *, source: str = "") -> None:
    """Draw a row per arm: a mark per seed, joined across the arms, and the mean with interval.

    Args:
        shown: what to draw.
        path: of the picture; its ending says the format.
        source: where the figures come from, see ``sheet.source_line``.

    Raises:
        EmabenchError: the file cannot be written.
    """
    counts = [arm.estimate.n for arm in shown.arms]
    values_of_all = [value for arm in shown.arms for value in arm.values.values()]
    across = bounds([arm.estimate for arm in shown.arms], values_of_all)
    sheet = new_sheet(
        8.5,
        max(2.8, 1.1 + _ROW * len(counts), legend_height(["seed"] * (len(shown.seeds) + 1))),
        title=f"{shown.metric.name} of every seed · {seeds_in_words(counts)} · "
        + interval_in_words(counts, cut=across is not None),
        source=source,
    )
    panel = sheet.body.subplots()
    handles: list[Any] = []
    labels = []
    for place, seed in enumerate(shown.seeds):
        rows = [row for row, arm in enumerate(shown.arms) if seed in arm.values]
        values = [shown.arms[row].values[seed] for row in rows]
        panel.plot(values, rows, color=GREY, linewidth=0.6, alpha=0.6, zorder=1)
        marks = panel.scatter(
            values,
            rows,
            marker=MARKERS[place % len(MARKERS)],
            color=shade(place, len(shown.seeds)),
            s=30,
            zorder=3,
        )
        handles.append(marks)
        labels.append(f"seed {seed}")
    handles.append(
        panel.errorbar(
            [arm.estimate.mean for arm in shown.arms],
            [row + _MEAN_BELOW for row in range(len(shown.arms))],
            xerr=error_bars([arm.estimate for arm in shown.arms]),
            fmt="|",
            color=INK,
            markersize=9,
            markeredgewidth=2,
            elinewidth=1.2,
            capsize=3,
            zorder=4,
        )
    )
    labels.append("mean")
    name_arms(panel, [(arm.label, arm.estimate.n) for arm in shown.arms])
    panel.set_xlabel(axis_label(shown.metric))
    if across is not None:
        panel.set_xlim(across)
    panel.grid(alpha=0.3, axis="x")
    sheet.add_legend(handles, labels, "lines join a seed")
    sheet.save(path)
