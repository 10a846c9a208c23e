"""The metrics of runs as one tidy table: a line is one value of one metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from emabench.analysis.arms import arm_name
from emabench.records import MetricPoint, RunRecord
from emabench.report.tables.run_table import spec_value
from emabench.table import Table

_HEADERS = ("run", "name", "group", "method", "ema_scope", "seed", "step", "epoch")


def metrics_table(runs: Iterable[tuple[RunRecord, Sequence[MetricPoint]]]) -> Table:
    """Return a line for each point, in the order of runs and steps; NaN is unknown.

    Args:
        runs: with the points of each.
    """
    rows = []
    for run, points in runs:
        described = (run.id, run.name, arm_name(run))
        described += tuple(spec_value(run, name) for name in ("method", "ema_scope", "seed"))
        for point in points:
            value = None if math.isnan(point.value) else point.value
            rows.append((*described, point.step, point.epoch, point.name, value))
    return Table((*_HEADERS, "metric", "value"), tuple(rows))
