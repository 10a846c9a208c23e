"""How the gradient of every block fluctuates: a panel per arm, a line per block."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from emabench.analysis.curves.stability import BlockCourse, Spread, Stability, stability
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.report.figures._axes import rounded, thinned
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, option
from emabench.report.figures._sheet import DASHES, MANY, MARKERS, new_sheet, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW, _SMALL = (4, 3.1, 2.7, 38), (6, 2.3, 1.9, 30)
"""Panels beside each other, the width and height of each in inches, and the letters of its title:
where there are few, and where there are many."""
_IN_WORDS = {
    "grad_norm": "norm of the gradient",
    "grad_sample_norm": "mean norm of a view's gradient",
    "grad_cosine": "cosine of adjacent gradients",
}


def draw_stability(stability: Stability, *, source: str = "") -> Figure:
    """Draw one panel per arm, one line per block over the epochs, with a band of ± sd over seeds.

    Args:
        stability: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    from matplotlib.ticker import MaxNLocator

    most, width, height, letters = _SMALL if len(stability.arms) > MANY else _FEW
    columns = min(most, len(stability.arms))
    rows = math.ceil(len(stability.arms) / columns)
    sheet = new_sheet(
        1.4 + width * columns,
        1.3 + height * rows,
        title=f"{stability.quantity} at the output of every block · bands: ± 1 sd over n seeds",
        source=source,
    )
    panels = sheet.body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    blocks = stability.blocks
    for index, (arm, panel) in enumerate(zip(stability.arms, panels, strict=False)):
        for course in arm.blocks:
            place = blocks.index(course.block)
            _draw_course(panel, course, place, shade(place, len(blocks)))
        title = textwrap.fill(f"{arm.label} (n={len(arm.runs)})", letters)
        panel.set_title(title, fontsize=9 if most == _FEW[0] else 8)
        panel.grid(alpha=0.3)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        # Also above an empty place the epochs are written out.
        panel.tick_params(labelbottom=index + columns >= len(stability.arms))
    for panel in panels[len(stability.arms) :]:
        panel.set_visible(False)
    sheet.body.supxlabel("epoch", fontsize=10)
    sheet.body.supylabel(_axis_label(stability.quantity), fontsize=10)
    lines = {line.get_label(): line for panel in panels for line in panel.get_lines()}
    named = [block for block in blocks if block in lines]
    sheet.add_legend([lines[block] for block in named], named, "block")
    return sheet.figure


def _draw_course(panel: Axes, course: BlockCourse, place: int, colour: Any) -> None:
    epochs = list(course.epochs)
    means = [spread.mean for spread in course.epochs.values()]
    panel.plot(
        epochs,
        means,
        label=course.block,
        color=colour,
        linestyle=DASHES[place % len(DASHES)],
        marker=MARKERS[place % len(MARKERS)],
        markersize=3,
        linewidth=1.4,
    )
    if all(spread.sd is not None for spread in course.epochs.values()):
        spreads = [spread.sd or 0.0 for spread in course.epochs.values()]
        low = [mean - sd for mean, sd in zip(means, spreads, strict=True)]
        high = [mean + sd for mean, sd in zip(means, spreads, strict=True)]
        panel.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)


def _axis_label(quantity: str) -> str:
    for ending, words in (("_cv", "coefficient of variation, "), ("_sd", "standard deviation, ")):
        if quantity.endswith(ending):
            return words + _IN_WORDS[quantity.removesuffix(ending)]
    return _IN_WORDS[quantity]


def stability_figures(shown: Stability) -> list[PageFigure]:
    """Return what a page draws: a figure per arm, a series per block."""
    return [
        {
            "kind": "xy",
            "title": f"{shown.quantity} at the blocks, {arm.label} (n={len(arm.runs)})",
            "x": {"label": "epoch", "whole": True},
            "y": {"label": f"{shown.quantity}, band: ± 1 sd"},
            "series": [
                {
                    "name": course.block,
                    "line": True,
                    "band": True,
                    "points": [
                        {"x": epoch, **_page_spread(spread)}
                        for epoch, spread in thinned(list(course.epochs.items()))
                    ],
                }
                for course in arm.blocks
            ],
        }
        for arm in shown.arms
    ]


def _page_spread(spread: Spread) -> dict[str, float | None]:
    sd = spread.sd
    return {
        "y": rounded(spread.mean),
        "ylow": None if sd is None else rounded(spread.mean - sd),
        "yhigh": None if sd is None else rounded(spread.mean + sd),
    }


@dataclass(frozen=True)
class StabilityPicture(Picture):
    """Draw how the gradient fluctuates at the output of every block, one panel per arm.

    Examples:
        emabench plot stability -o stability.png
    """

    quantity: str = option("grad_norm_cv", "NAME", "As for emabench stability.")

    places = (5, 7)
    heading = "Fluctuation of the gradient"
    caption = "At the output of every block, from the input to the projector; bands are ± 1 sd."
    draw = staticmethod(draw_stability)
    page_figures = staticmethod(stability_figures)

    @property
    def points(self) -> tuple[str, ...]:
        """The quantity at every block."""
        return (f"{self.quantity}:",)

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield that of the quantity."""
        return iter([cls(quantity)])

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> Stability:
        """Gather the quantity, and say which runs are left out."""
        return stability(arms, lambda run: values.points.get(run, ()), self.quantity)
