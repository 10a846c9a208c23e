"""Pictures: PNG, SVG or PDF by matplotlib, readable in grey and by colour-blind readers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emabench.errors import EmabenchError, UsageError
from emabench.report.stability import BlockCourse, Stability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg", ".pdf")
_COLUMNS = 4
_DASHES = ("solid", "dashed", "dashdot", "dotted")
_MARKERS = "osD^vP"
_IN_WORDS = {
    "grad_norm": "norm of the gradient",
    "grad_sample_norm": "mean norm of a view's gradient",
    "grad_cosine": "cosine of adjacent gradients",
}


def check_path(path: Path) -> None:
    """Refuse a picture that cannot be written, before anything is computed.

    Raises:
        UsageError: the ending is none of PNG, SVG and PDF, or the folder does not exist.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"a picture cannot be written as {path.name!r}",
            hint=f"let its name end in {', '.join(FORMATS)}",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {path.absolute().parent}", hint="make it, or choose another"
        )


def draw_stability(stability: Stability, path: Path) -> None:
    """Draw one panel per arm, one line per block over the epochs, with a band of ± sd over seeds.

    Args:
        stability: what to draw.
        path: of the picture; its ending says the format.

    Raises:
        EmabenchError: the file cannot be written.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(_COLUMNS, len(stability.arms))
    rows = math.ceil(len(stability.arms) / columns)
    figure = Figure(figsize=(1.2 + 3.1 * columns, 1.3 + 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    blocks = stability.blocks
    shades = colormaps["viridis"]
    for index, (arm, panel) in enumerate(zip(stability.arms, panels, strict=False)):
        for course in arm.blocks:
            place = blocks.index(course.block)
            _draw_course(panel, course, place, shades(0.92 * place / max(1, len(blocks) - 1)))
        panel.set_title(f"{arm.label} (n={len(arm.runs)})", fontsize=9, wrap=True)
        panel.grid(alpha=0.3)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        # Also above an empty place the epochs are written out.
        panel.tick_params(labelbottom=index + columns >= len(stability.arms))
    for panel in panels[len(stability.arms) :]:
        panel.set_visible(False)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel(_axis_label(stability.quantity), fontsize=10)
    lines = {line.get_label(): line for panel in panels for line in panel.get_lines()}
    figure.legend(
        [lines[block] for block in blocks if block in lines],
        [block for block in blocks if block in lines],
        loc="outside right upper",
        title="block",
        fontsize=8,
    )
    figure.suptitle(
        f"emabench stability · {stability.quantity} · bands: ± 1 sd over n seeds", fontsize=9
    )
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise EmabenchError(
            f"cannot write {path}: {error.strerror}", hint="choose another place with --output"
        ) from None


def _draw_course(panel: Axes, course: BlockCourse, place: int, colour: Any) -> None:
    epochs = list(course.epochs)
    means = [spread.mean for spread in course.epochs.values()]
    panel.plot(
        epochs,
        means,
        label=course.block,
        color=colour,
        linestyle=_DASHES[place % len(_DASHES)],
        marker=_MARKERS[place % len(_MARKERS)],
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
