"""Plain tables on stdout: for a terminal of any width, or in another form that was asked for.

Every table is laid out by one rule. Where it does not fit it is folded between words; ids, numbers
and words stay whole. Where that is not enough it loses columns, first those that it can spare, then
from the right, and a note says which. Only a path, command or hash is folded anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import typer

from emabench.cli.app.console import err, out
from emabench.table import Format, Table, show_value, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

_LONGEST_WORD = 24
"""Columns; the only words that are longer are paths, commands and hashes."""
_GAP, _MARGIN = 2, 1
"""Columns between two cells, and before the first."""
_MOST_NAMED = 10
"""Lost columns that a note names one by one."""
_WORDS = re.compile(r"\s*(?:\[[^]]*]|\S+)")
"""An interval is one word."""
_OF_NUMBERS = re.compile(r"\s*\S.*?(?=\s[±[(]|$)")
"""A number with its unit, a spread and an interval each stay whole."""
_OF_HEADERS = re.compile(r"\s*[^\s_]*_*")


def print_table(table: Table, title: str | None = None, *, form: Format = "text") -> None:
    """Print a table to stdout; what a narrow terminal has no room for is said on stderr.

    Args:
        table: the table.
        title: above it, as text only.
        form: not ``json``, which has another shape than a table.
    """
    if form == "csv":
        typer.echo(table.to_csv(), nl=False)
    elif form == "markdown":
        typer.echo(table.to_markdown(), nl=False)
    elif form == "latex":
        typer.echo(table.to_latex(), nl=False)
    else:
        console, fitted = out(), FittedTable(table, title)
        console.print(fitted)
        if lost := fitted.lost(console.width):
            named = len(lost) <= _MOST_NAMED
            what = ", ".join(lost) if named else f"{len(lost)} of {len(table.headers)} columns"
            err().print(f"note: this terminal has no room for {what}; a wider one or a pipe has")


class FittedTable:
    """A table in the width of the terminal, whatever it is at the moment.

    Brackets in a cell are text, not markup.

    Args:
        table: what to show.
        title: above it.
    """

    def __init__(self, table: Table, title: str | None = None) -> None:
        self._table, self._title = table, title
        self._columns = [
            _Column(
                visible(header),
                tuple(show_value(row[place]) for row in table.rows),
                is_number=header in table.right,
                is_whole=header in table.whole,
            )
            for place, header in enumerate(table.headers)
        ]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield the table with the columns for which there is room."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        columns, widths = self._layout(options.max_width)
        shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, _MARGIN))
        for column, width in zip(columns, widths, strict=True):
            side: Literal["left", "right"] = "right" if column.is_number else "left"
            header = Text(column.folded_header(width))
            shown.add_column(header, justify=side, overflow="fold", width=width)
        for place in range(len(self._table.rows)):
            cells = zip(columns, widths, strict=True)
            shown.add_row(*(Text(column.folded(place, width)) for column, width in cells))
        yield Text(visible(self._title or ""), style="italic")
        yield shown
        yield Text()

    def lost(self, width: int) -> list[str]:
        """Return the headers of the columns for which so many columns have no room."""
        shown = self._layout(width)[0]
        return [column.header for column in self._columns if column not in shown]

    def _layout(self, room: int) -> tuple[list[_Column], list[int]]:
        """Return the columns that are shown, and how wide each is."""
        columns = list(self._columns)
        places = {visible(header): place for place, header in enumerate(self._table.spare)}
        spared = [column for column in columns if column.header in places]
        spared.sort(key=lambda column: places[column.header])
        for column in (*spared, *columns[:1:-1]):
            if column in columns and _left(columns, room) < 0:
                columns.remove(column)
        widths = [column.narrowest for column in columns]
        left = _left(columns, room)
        while left < 0 and max(widths) > 1:  # a few words on the narrowest of terminals
            widths[widths.index(max(widths))] -= 1
            left += 1
        wanted = [column.natural - width for column, width in zip(columns, widths, strict=True)]
        for place, more in enumerate(wanted):
            given = min(more, left * more // max(1, sum(wanted[place:])))
            widths[place] += given
            left -= given
        return columns, widths


@dataclass(frozen=True, eq=False)
class _Column:
    """One column: what stands in it, and how narrow it may become."""

    header: str
    cells: tuple[str, ...]
    is_number: bool
    is_whole: bool

    @cached_property
    def natural(self) -> int:
        """The width in which nothing is folded."""
        return max(_width(line) for text in (self.header, *self.cells) for line in text.split("\n"))

    @cached_property
    def narrowest(self) -> int:
        """The width in which no word, id or number is cut."""
        words = [word for cell in self.cells for word in self._words(cell)]
        long = self.natural if self.is_whole else max(map(_width, words), default=0)
        if not self.is_number and not self.is_whole:
            long = min(long, _LONGEST_WORD)
        return max(long, *map(_width, _OF_HEADERS.findall(self.header)))

    def folded(self, place: int, width: int) -> str:
        """Return a cell in lines of a width."""
        return _folded(self._words(self.cells[place]), width)

    def folded_header(self, width: int) -> str:
        """Return the header in lines of a width."""
        return _folded(_OF_HEADERS.findall(self.header), width)

    def _words(self, cell: str) -> list[str]:
        return (_OF_NUMBERS if self.is_number else _WORDS).findall(cell)


def _left(columns: Sequence[_Column], room: int) -> int:
    """Return how much of the room the columns leave at their narrowest; negative is too little."""
    needed = sum(column.narrowest for column in columns) + _GAP * (len(columns) - 1)
    return room - needed - _MARGIN


def _folded(words: Sequence[str], width: int) -> str:
    """Join words, each with the blanks before it, to lines; a longer word is left to the screen."""
    lines = [""]
    for word in words:
        if word.startswith("\n") or (lines[-1] and _width(lines[-1] + word) > width):
            lines.append(word.strip())
        else:
            lines[-1] += word
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text.strip())
