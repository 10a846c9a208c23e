"""Every run as a page shows it: what sets it apart, what it cost, and where it ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.analysis.arms import flat_fields
from emabench.analysis.metric_values import MetricValues, told_points
from emabench.analysis.metrics import MetricInfo, state_in_words
from emabench.records import MetricPoint, RunRecord
from emabench.report.figures._axes import rounded, thinned
from emabench.report.page.cells import HtmlCell, HtmlRow, HtmlTable
from emabench.report.tables.comparison_columns import mean_and_sd
from emabench.report.tables.run_sheet import run_sheet
from emabench.report.tables.run_table import spec_value
from emabench.table import UNKNOWN, Table, duration, show_value

RunCurves = dict[str, tuple[list[int], list[float | None]]]
"""By the name of a metric, epochs and values."""

_SECTIONS = ("results", "cost of all attempts", "environment", "attempts")


@dataclass(frozen=True)
class RunView:
    """One run.

    Attributes:
        id: of the run.
        title: arm and seed.
        command: that reproduces it; None is unknown.
        warnings: its own.
        spec: fields that are not the same in all runs, with their values.
        sections: titled tables, without rows that tell nothing.
        is_readable: whether its spec can be read.
    """

    id: str
    title: str
    command: str | None
    warnings: tuple[str, ...]
    spec: tuple[tuple[str, str], ...]
    sections: tuple[tuple[str, Table], ...]
    is_readable: bool = True


def common_fields(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Return the fields of the spec that all readable runs agree on, with their values."""
    specs = [_shown_fields(run.spec) for run in runs if run.unreadable is None]
    if not specs:
        return {}
    return {
        path: value
        for path, value in specs[0].items()
        if all(spec.get(path) == value for spec in specs)
    }


def run_view(run: RunRecord, label: str | None, common: Mapping[str, str]) -> RunView:
    """Return all that is known of a run beside what all runs have in common.

    Args:
        run: which.
        label: of its arm; None if it takes no part in the comparison.
        common: see ``common_fields``.
    """
    told = dict(run_sheet(run, []))
    sections = [(title, _known_rows(told[title])) for title in _SECTIONS]
    spec = _shown_fields(run.spec)
    return RunView(
        run.id,
        f"{label or _words(run)}, seed {show_value(spec_value(run, 'seed'))}",
        run.command,
        run.warnings,
        tuple((path, value) for path, value in spec.items() if path not in common),
        tuple((title, table) for title, table in sections if table.rows),
        is_readable=run.unreadable is None,
    )


def run_curves(run: RunRecord, points: Sequence[MetricPoint]) -> RunCurves:
    """Return what a run recorded at the end of every epoch, but for what it recorded of blocks.

    Args:
        run: which.
        points: of its training.
    """
    found: dict[str, dict[int, float]] = {}
    for point in told_points(run, points):
        if ":" not in point.name and math.isfinite(point.value):
            found.setdefault(point.name, {})[point.epoch] = point.value
    curves: RunCurves = {}
    for name, course in sorted(found.items()):
        shown = thinned(sorted(course.items()))
        curves[name] = ([epoch for epoch, _ in shown], [rounded(value) for _, value in shown])
    return curves


def runs_table(
    runs: Sequence[RunRecord],
    labels: Mapping[str, str],
    metrics: Sequence[MetricInfo],
    measured: MetricValues,
) -> HtmlTable:
    """Return a line per run: its arm, state, metrics, time and date."""
    headers = ["run", "arm", "seed", "state"]
    headers += [f"{m.name} [{m.shown_unit}]" if m.shown_unit else m.name for m in metrics]
    headers += ["total", "created"]
    rows = []
    for run in runs:
        values = [measured.value(metric, run) for metric in metrics]
        seed = spec_value(run, "seed")
        cells = [
            HtmlCell(run.id, run.id, link=f"run-{run.id}"),
            HtmlCell(labels.get(run.id) or _words(run)),
            HtmlCell(show_value(seed), seed, is_number=True),
            HtmlCell(state_in_words(run)),
            *(
                HtmlCell(mean_and_sd(value, None, metric), value, is_number=True)
                for metric, value in zip(metrics, values, strict=True)
            ),
            HtmlCell(duration(run.cost.total_s), run.cost.total_s, is_number=True),
            HtmlCell(f"{run.created_at.astimezone():%Y-%m-%d %H:%M}", run.created_at.isoformat()),
        ]
        rows.append(HtmlRow(tuple(cells), key=run.id))
    return HtmlTable("runs", tuple(headers), tuple(rows), opens=True)


def _words(run: RunRecord) -> str:
    return f"{spec_value(run, 'method')} {spec_value(run, 'ema_scope')}"


def _known_rows(table: Table) -> Table:
    """Leave out rows whose value is unknown."""
    rows = tuple(row for row in table.rows if len(row) != 2 or row[1] != UNKNOWN)
    return Table(table.headers, rows, table.right)


def _shown_fields(spec: Mapping[str, Any]) -> dict[str, str]:
    return {path: show_value(value) for path, value in sorted(flat_fields(spec).items())}
