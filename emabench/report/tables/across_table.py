"""The table of a comparison over several tasks."""

from __future__ import annotations

from emabench.analysis.tasks.across_tasks import AcrossTasks
from emabench.analysis.tasks.aggregates import Aggregate
from emabench.table import UNKNOWN, Table, fixed


def across_table(across: AcrossTasks, *, exact: bool = False) -> Table:
    """Return a line for each value of the factor.

    Args:
        across: what is shown.
        exact: for programs: a number per column, in full precision.
    """
    headers = ("arm", f"{across.metric.name} IQM", "beats the baseline")
    if not exact:
        rows = [
            (
                row.label,
                _in_words(row.middle),
                "baseline"
                if row.is_baseline
                else UNKNOWN
                if row.improvement is None
                else _in_words(row.improvement),
            )
            for row in across.rows
        ]
        return Table(headers, tuple(rows), right=frozenset(headers[1:]))
    names = ("iqm", "improvement")
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    plain = [
        (row.label, row.is_baseline, *_numbers(row.middle), *_numbers(row.improvement))
        for row in across.rows
    ]
    return Table(("label", "is_baseline", *columns), tuple(plain))


def _in_words(figure: Aggregate) -> str:
    return f"{fixed(figure.value)} [{fixed(figure.low)}, {fixed(figure.high)}]"


def _numbers(figure: Aggregate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if figure is None else (figure.value, figure.low, figure.high)
