"""Mean ± sd over seeds with marks of significance: the table that a paper has."""

from __future__ import annotations

from emabench.analysis.compared_arms import MetricCell
from emabench.analysis.comparison import ArmComparison
from emabench.report.tables.comparison_columns import mean_columns
from emabench.table import Table, show_value

_MARK = "*"


def mean_table(comparison: ArmComparison) -> Table:
    """Return one line per arm: the fields that differ, n, and mean ± sd of each metric.

    A star marks a mean that differs from that of the baseline, see ``footnote``.
    """
    columns = mean_columns(comparison)
    names = {metric.name for metric in comparison.metrics}
    rows = [
        tuple(
            column.shown(row) + (_mark(row.metrics[column.key]) if column.key in names else "")
            for column in columns
        )
        for row in comparison.rows
    ]
    right = frozenset(column.header for column in columns if column.is_number)
    return Table(tuple(column.header for column in columns), tuple(rows), right=right)


def footnote(comparison: ArmComparison) -> str:
    """Return what the table means, on one line."""
    said = "mean ± sd over n seeds"
    if comparison.baseline is None:
        return said
    cells = [cell for row in comparison.rows for cell in row.metrics.values()]
    asked = sum(_differs(cell) is not None for cell in cells)
    intervals = "1 interval" if asked == 1 else f"{asked} intervals, not corrected for their number"
    return (
        f"{said}; {_MARK} differs from {show_value(comparison.baseline)} by the 95 % interval of "
        f"the paired difference, of costs the ratio; {intervals}"
    )


def _mark(cell: MetricCell) -> str:
    return _MARK if _differs(cell) else ""


def _differs(cell: MetricCell) -> bool | None:
    """Whether the interval of the change leaves out none; None where there is no interval."""
    paired = cell.baseline
    if paired is None or paired.low is None or paired.high is None:
        return None
    none = 1 if paired.kind == "ratio" else 0
    return paired.low > none or paired.high < none
