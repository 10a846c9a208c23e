"""Accuracy by EMA'd block."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emabench.analysis.statistics import MeanInterval
from emabench.report.figures.axis import axis_label
from emabench.report.figures.blocks_data import BlockAccuracies, BlockPanel
from emabench.report.figures.pareto import error_bars
from emabench.report.figures.reach import bounds
from emabench.report.figures.sheet import (
    DASHES,
    GREY,
    INK,
    interval_in_words,
    new_sheet,
    seeds_in_words,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 2
_APART = 0.12
"""The series stand beside each other above a block."""
_SERIES = (
    ("single", "this block alone", "o", -_APART),
    ("onward", "this block and all that follow", "s", _APART),
    ("others", "this scope", "D", 0.0),
)


def draw_blocks(shown: BlockAccuracies, path: Path, *, source: str = "") -> None:
    """Draw a panel per method, the blocks from left to right; without EMA as lines across.

    Args:
        shown: what to draw.
        path: of the picture; its ending says the format.
        source: where the figures come from, see ``sheet.source_line``.

    Raises:
        EmabenchError: the file cannot be written.
    """
    counts = [n for panel in shown.panels for n in panel.n]
    columns = min(_COLUMNS, len(shown.panels))
    rows = math.ceil(len(shown.panels) / columns)
    width = max(2.4, 0.6 + 0.62 * max(1, len(shown.places)))
    upright = bounds([estimate for panel in shown.panels for estimate in panel.estimates])
    sheet = new_sheet(
        3.2 + width * columns,
        0.9 + 2.9 * rows,
        title=f"{shown.metric.name} by the blocks that the target averages · "
        f"{seeds_in_words(counts)} · "
        + interval_in_words(counts, "bars and bands", cut=upright is not None),
        source=source,
    )
    axes = sheet.body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    if upright is not None:
        axes[0].set_ylim(upright)
    handles: dict[str, Any] = {}
    without = list(dict.fromkeys(label for panel in shown.panels for label in panel.without))
    for index, (panel, ax) in enumerate(zip(shown.panels, axes, strict=False)):
        _draw_without(ax, panel, without, handles)
        _draw_panel(ax, panel, shown.places, handles)
        several = len(set(panel.n)) > 1
        n = f"n={min(panel.n)} to {max(panel.n)}" if several else f"n={panel.n[0]}"
        ax.set_title(textwrap.fill(f"{panel.title} ({n})".strip(), int(9 * width)), fontsize=9)
        ax.tick_params(labelbottom=index + columns >= len(shown.panels))
    for ax in axes[len(shown.panels) :]:
        ax.set_visible(False)
    sheet.body.supxlabel("averaged block, from the input to the output", fontsize=10)
    sheet.body.supylabel(axis_label(shown.metric), fontsize=10)
    sheet.add_legend(list(handles.values()), handles, "the target averages")
    sheet.save(path)


def _draw_without(
    ax: Axes, panel: BlockPanel, labels: Sequence[str], handles: dict[str, Any]
) -> None:
    """Draw the arms without EMA as lines across, each label in its own dashes in every panel."""
    for label, estimate in panel.without.items():
        place = labels.index(label)
        colour = (INK, GREY)[place % 2]
        line = ax.axhline(
            estimate.mean, color=colour, linestyle=DASHES[1 + place % 3], linewidth=1.3
        )
        if estimate.low is not None and estimate.high is not None:
            ax.axhspan(estimate.low, estimate.high, color=colour, alpha=0.1, linewidth=0)
        handles.setdefault(f"nothing ({label})", line)


def _draw_panel(
    ax: Axes, panel: BlockPanel, places: Sequence[str], handles: dict[str, Any]
) -> None:
    for place, (name, words, marker, beside) in enumerate(_SERIES):
        estimates: Mapping[str, MeanInterval] = getattr(panel, name)
        if not estimates:
            continue
        there = [at for at, block in enumerate(places) if block in estimates]
        values = [estimates[places[at]] for at in there]
        mark = ax.errorbar(
            [at + beside for at in there],
            [value.mean for value in values],
            yerr=error_bars(values),
            fmt=marker,
            linestyle="none" if name == "others" else DASHES[place],
            color=shade(place, len(_SERIES)),
            markersize=6,
            linewidth=1.0,
            elinewidth=1.0,
            capsize=3,
        )
        handles.setdefault(words, mark)
    names = [textwrap.fill(place, 12) for place in places]
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 0, fontsize=8)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(alpha=0.3)
