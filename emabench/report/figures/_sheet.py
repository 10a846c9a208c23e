"""The sheet that every picture is drawn on: its title, its source, its marks, and its file.

Lightness tells the series apart as well as the hue does, and marks, dashes or hatches do once more,
so that nothing is lost in grey.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emabench.errors import EmabenchError, UsageError
from emabench.records import RunRecord
from emabench.table import counted
from emabench.user_paths import check_output, is_folder
from emabench.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

FORMATS = (".png", ".svg", ".pdf")
MARKERS = "osD^vPX<>ph*"
DASHES = ("solid", "dashed", "dashdot", "dotted")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo", "|||")
INK = "#333333"
GREY = "#8a8a8a"
MANY = 12
"""More arms than that nobody tells apart at a glance; their names then stand below the picture."""

_LEGEND_COLUMNS = 34
_LEGEND_INCHES = 2.7
"""Width of a column of a legend, the mark included."""
_LEGEND_LINE, _LEGEND_TITLE = 0.165, 0.45
"""Inches."""
_MARGIN = 0.1
"""Inches."""
_TITLE_POINTS, _SOURCE_POINTS = 9.0, 6.5
_INCHES_PER_POINT = 1 / 72
_LINE = 1.3
"""Height of a line in its font size."""
_LETTER = 0.56
"""Width of a letter in its font size: rather too much."""


def check_path(path: Path) -> None:
    """Refuse a picture that cannot be written, before anything is computed.

    Raises:
        UsageError: the ending is none of PNG, SVG and PDF, the folder does not exist, or
            something is there that is not a regular file.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"a picture cannot be written as {path.name!r}",
            hint=f"end its name in {', '.join(FORMATS)}",
        )
    if not is_folder(path.absolute().parent):
        raise UsageError(
            f"there is no folder {path.absolute().parent}", hint="make it, or choose another"
        )
    check_output(path)


@dataclass(frozen=True)
class Sheet:
    """A picture that is being drawn; everything but title and source belongs into ``body``."""

    figure: Figure
    body: SubFigure

    def add_legend(self, handles: Sequence[Any], labels: Iterable[str], title: str) -> None:
        """Put a legend beside what is drawn, so that it hides nothing; one that is long, below."""
        broken = _broken(labels)
        below = len(broken) > MANY
        self.body.legend(
            handles,
            broken,
            loc="outside lower center" if below else "outside right upper",
            ncols=_legend_columns(self.figure.get_figwidth()) if below else 1,
            title=title,
            fontsize=8,
            handlelength=3.2,
        )


def new_sheet(width: float, height: float, *, title: str, source: str) -> Sheet:
    """Return a sheet with a title above and its source below; what lies between is laid out.

    Args:
        width: in inches.
        height: in inches, of what lies between title and source.
        title: what is shown; broken into lines as it takes.
        source: where the figures come from; empty for none. May have several lines.
    """
    from emabench.report.figures._shown_figure import ShownFigure

    above = _lines(title, width, _TITLE_POINTS)
    below = _lines(source, width, _SOURCE_POINTS)
    heights = (_inches(above, _TITLE_POINTS), height, _inches(below, _SOURCE_POINTS))
    figure = ShownFigure(figsize=(width, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=heights)
    head, body, foot = parts
    edge = _MARGIN / width
    head.text(edge, 0.5, "\n".join(above), fontsize=_TITLE_POINTS, va="center", color=INK)
    foot.text(edge, 0.5, "\n".join(below), fontsize=_SOURCE_POINTS, va="center", color=INK)
    return Sheet(figure, body)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture; the ending of its path says the format.

    Raises:
        EmabenchError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise EmabenchError(
            f"cannot write {path}: {error.strerror}", hint="choose another place with --output"
        ) from None


def shade(place: int, count: int) -> Any:
    """Return the colour of one of several series: from dark to light, never too light for white."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.86 * place / max(1, count - 1))


def height_with_legend(height: float, labels: Iterable[str], width: float) -> float:
    """Return the height in inches of what is drawn together with its legend.

    Args:
        height: of what is drawn, at least.
        labels: of the legend.
        width: of the sheet.
    """
    lines = [label.count("\n") + 1 for label in _broken(labels)]
    if len(lines) <= MANY:
        return max(height, 0.6 + 0.2 * sum(lines))
    rows = math.ceil(len(lines) / _legend_columns(width))
    tallest = max(sum(lines[start : start + rows]) for start in range(0, len(lines), rows))
    return height + _LEGEND_TITLE + _LEGEND_LINE * tallest


def source_line(runs: Sequence[RunRecord], store: str, choice: Iterable[str] = ()) -> str:
    """Return where the figures of a picture come from: store, choice, n, machine and versions.

    Args:
        runs: those that are shown.
        store: its label, without a password.
        choice: how they were chosen, for example ``study which-block``.
    """
    places = Counter(place for run in runs if (place := _place(run)))
    commits = sorted({commit for run in runs if (commit := _commit(run))})
    parts = [
        ", ".join([store, *choice]),
        counted(len(runs), "run"),
        *_shortened(list(places)),
        *_shortened([f"commit {commit}" for commit in commits]),
        f"drawn by emabench {__version__}",
    ]
    return "source: " + " · ".join(parts)


def seeds_in_words(counts: Iterable[int]) -> str:
    """Return how many seeds the arms have: ``n = 3 seeds an arm`` or ``n = 2 to 5``."""
    few, many = min(known := list(counts)), max(known)
    if few == many:
        return f"n = {counted(few, 'seed')} an arm"
    return f"n = {few} to {many} seeds an arm"


def interval_in_words(counts: Iterable[int], what: str = "bars", *, cut: bool = False) -> str:
    """Return what the intervals of a picture are; one seed has none.

    Args:
        counts: numbers of seeds.
        what: is drawn for an interval.
        cut: whether some are wider than the picture.
    """
    if max(counts) < 2:
        return "one seed has no interval"
    beyond = "; those at the edge reach beyond it" if cut else ""
    return f"{what}: 95 % interval of the mean over seeds (t){beyond}"


def _broken(labels: Iterable[str]) -> list[str]:
    return [textwrap.fill(label, _LEGEND_COLUMNS) for label in labels]


def _legend_columns(width: float) -> int:
    return max(1, int(width / _LEGEND_INCHES))


def _lines(text: str, width: float, points: float) -> list[str]:
    """Break a text into lines that fit a width in inches."""
    letters = max(20, int((width - 2 * _MARGIN) / (points * _LETTER * _INCHES_PER_POINT)))
    return [line for part in text.splitlines() for line in textwrap.wrap(part, letters)]


def _inches(lines: Sequence[str], points: float) -> float:
    """Return the height of some lines in inches, with a margin."""
    return _MARGIN + max(1, len(lines)) * points * _LINE * _INCHES_PER_POINT


def _place(run: RunRecord) -> str | None:
    where = run.environment
    if where is None:
        return None
    threads = counted(where.threads, "thread")
    compiled = ", compiled" if where.compiled else ""
    return f"{where.device}, {where.precision}, {threads}{compiled}"


def _commit(run: RunRecord) -> str | None:
    where = run.environment
    if where is None or where.commit is None:
        return None
    return where.commit[:7] + ("+" if where.dirty else "")


def _shortened(names: Sequence[str], most: int = 2) -> list[str]:
    """Return the first of many names, and how many more there are."""
    rest = len(names) - most
    return list(names) if rest <= 0 else [*names[:most], f"and {rest} more"]
