"""The table of runs that were just made: accuracies, speed, and the floors they have to beat."""

from __future__ import annotations

from collections.abc import Sequence

from emabench.records import RunRecord
from emabench.report.tables.run_table import spec_value
from emabench.spec.linear_eval import FLOORS
from emabench.table import UNKNOWN, Table, fixed

_RESULTS = ("top1", "knn_top1", "online_top1")


def finished_table(runs: Sequence[RunRecord]) -> Table:
    """Return a line for each run, and one for each floor that was measured, seed by seed."""
    numbers = (*(f"{name.replace('_', ' ')} %" for name in _RESULTS), "images/s", "total")
    headers = ("run", "method", "ema scope", "seed", *numbers)
    rows = [
        (
            run.id,
            *(str(spec_value(run, name)) for name in ("method", "ema_scope", "seed")),
            *(fixed(run.results.get(name)) for name in _RESULTS),
            UNKNOWN if run.cost.throughput is None else f"{run.cost.throughput:,.0f}",
            UNKNOWN if run.cost.total_s is None else f"{run.cost.total_s:.1f} s",
        )
        for run in runs
    ]
    spare = ("online top1 %", "total")
    return Table(headers, (*rows, *_floor_rows(runs)), right=frozenset(numbers), spare=spare)


def _floor_rows(runs: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    lines: dict[tuple[str, ...], None] = {}
    for floor in FLOORS:
        for run in runs:
            figures = [run.results.get(f"{name}@{floor}") for name in _RESULTS]
            if any(figure is not None for figure in figures):
                what = "raw pixels" if floor == "pixels" else floor
                described = (UNKNOWN, what, UNKNOWN, str(spec_value(run, "seed")))
                lines[(*described, *map(fixed, figures), UNKNOWN, UNKNOWN)] = None
    return list(lines)
