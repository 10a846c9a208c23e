"""Tables of a page: each cell with its text, and the value that it is sorted by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from emabench.analysis.comparison import ArmComparison
from emabench.report.tables.comparison_columns import data_columns
from emabench.table import UNKNOWN


@dataclass(frozen=True)
class HtmlCell:
    """One cell.

    Attributes:
        text: for people.
        value: in full precision, to sort by; None is unknown, or the text itself.
        is_number: whether it is aligned to the right, and sorted as a number.
        parts: what a rounded text stands for, by name, in full precision.
        link: name of a place on the page that it leads to.
    """

    text: str
    value: Any = None
    is_number: bool = False
    parts: tuple[tuple[str, Any], ...] = ()
    link: str | None = None

    @property
    def sort(self) -> str | None:
        """The value as the page holds it; None where the text is sorted by."""
        if self.value is None:
            return "" if self.is_number else None
        return str(self.value) if isinstance(self.value, str) else repr(self.value)

    @property
    def full(self) -> str | None:
        """The parts as JSON; None without any."""
        return json.dumps(dict(self.parts), allow_nan=False) if self.parts else None


@dataclass(frozen=True)
class HtmlRow:
    """One line; ``key`` tells it from the others."""

    cells: tuple[HtmlCell, ...]
    key: str
    marked: bool = False


@dataclass(frozen=True)
class HtmlTable:
    """A table that can be sorted and filtered; ``name`` is its name in the page."""

    name: str
    headers: tuple[str, ...]
    rows: tuple[HtmlRow, ...]


def arms_table(comparison: ArmComparison) -> HtmlTable:
    """Return a line per arm with everything that ``compare`` knows of it."""
    columns = [
        column
        for column in data_columns(comparison)
        if any(column.shown(row) != UNKNOWN for row in comparison.rows)
        and (column.key != "method" or len({row.method for row in comparison.rows}) > 1)
    ]
    rows = []
    for row in comparison.rows:
        cells = []
        for column in columns:
            parts = tuple((header, read(row)) for header, read in column.parts)
            first = parts[0][1] if parts else None
            value = None if isinstance(first, list | tuple) else first
            is_number = column.is_number
            cells.append(
                HtmlCell(column.shown(row), value if is_number else None, is_number, parts)
            )
        rows.append(HtmlRow(tuple(cells), key=row.label, marked=row.is_baseline))
    return HtmlTable("arms", tuple(column.header for column in columns), tuple(rows))
