"""The tables of published accuracies: all that were asked for, and those beside an arm."""

from __future__ import annotations

from collections.abc import Sequence

from emabench.analysis.published.nearest_published import PublishedNeighbour
from emabench.analysis.published.published_rows import PublishedRow
from emabench.table import UNKNOWN, Table, fixed


def published_table(rows: Sequence[PublishedRow], *, exact: bool = False) -> Table:
    """Return a line for each published setting, its source last.

    Args:
        rows: what is published.
        exact: for programs: numbers as they are, and unknown is empty.
    """
    headers = (
        "method", "dataset", "backbone", "epochs", "batch", "protocol", "top1", "minutes",
        "hardware", "source",
    )  # fmt: skip
    lines = [tuple(vars(row)[header] for header in headers) for row in rows]
    if not exact:
        lines = [
            tuple(
                UNKNOWN
                if cell is None
                else fixed(cell)
                if header == "top1"
                else f"{cell:g}"
                if header == "minutes"
                else str(cell)
                for header, cell in zip(headers, line, strict=True)
            )
            for line in lines
        ]
    return Table(headers, tuple(lines), right=frozenset({"epochs", "batch", "top1", "minutes"}))


def neighbours_table(neighbours: Sequence[PublishedNeighbour]) -> Table:
    """Return each figure of an arm beside published ones, and in what the settings differ."""
    headers = ("arm", "metric", "n", "here", "published", "by", "differs in", "source")
    rows = [
        (
            each.label,
            each.metric,
            str(each.n),
            fixed(each.mean),
            fixed(each.row.top1),
            f"{each.row.method}, {each.row.protocol}",
            "; ".join(each.differing) or "nothing that is published",
            each.row.source,
        )
        for each in neighbours
    ]
    return Table(headers, tuple(rows), right=frozenset({"n", "here", "published"}))
