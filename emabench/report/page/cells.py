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
    """A table that can be sorted and filtered.

    Attributes:
        name: its name in the page.
        headers: of its columns.
        rows: in the order in which they are shown at first.
        spare: places of the columns that are shown only to a reader who asks for them.
        opens: whether the line of a run opens all that is known of it.
    """

    name: str
    headers: tuple[str, ...]
    rows: tuple[HtmlRow, ...]
    spare: frozenset[int] = frozenset()
    opens: bool = False


def arms_table(comparison: ArmComparison) -> HtmlTable:
    """Return a line per arm with everything that ``compare`` knows of it.

    First come the arm and what its answer rests on: the accuracy, the cost, and their changes.
    """
    essential = _essential(comparison)
    columns = [
        column
        for column in data_columns(comparison)
        if any(column.shown(row) != UNKNOWN for row in comparison.rows)
        and (column.key != "method" or len({row.method for row in comparison.rows}) > 1)
    ]
    places = {key: place for place, key in enumerate(essential)}
    columns.sort(key=lambda column: places.get(column.key, len(places)))
    rows = []
    for row in comparison.rows:
        cells = [HtmlCell(row.label)]
        for column in columns:
            parts = tuple((header, read(row)) for header, read in column.parts)
            first = parts[0][1] if parts else None
            value = None if isinstance(first, list | tuple) else first
            is_number = column.is_number
            cells.append(
                HtmlCell(column.shown(row), value if is_number else None, is_number, parts)
            )
        rows.append(HtmlRow(tuple(cells), key=row.label, marked=row.is_baseline))
    spare = {1 + place for place, column in enumerate(columns) if column.key not in places}
    headers = ("arm", *(column.header for column in columns))
    return HtmlTable("arms", headers, tuple(rows), frozenset(spare))


def _essential(comparison: ArmComparison) -> list[str]:
    """Return the keys of the columns that nobody should have to look for, in their order."""
    by_role = {metric.role: metric.name for metric in reversed(comparison.metrics)}
    names = [metric.name for metric in comparison.metrics[:2]]
    if {"accuracy", "cost"} <= by_role.keys():
        names = [by_role["accuracy"], by_role["cost"]]
    return ["n", *(key for name in names for key in (name, f"{name}:change")), "answer"]
