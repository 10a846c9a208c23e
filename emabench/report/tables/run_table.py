"""Runs as a table and as plain values: what ``list`` and ``show`` print."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from emabench.analysis.metrics import is_collapsed, state_in_words
from emabench.analysis.selection import select
from emabench.errors import UnknownNameError, UsageError
from emabench.records import AttemptRecord, JobKind, JobRecord, JobState, MetricPoint, RunRecord
from emabench.spec.linear_eval import FLOORS
from emabench.spec.paths import SHORT_NAMES, value_at
from emabench.store.runs.run_field import RunField
from emabench.table import (
    UNKNOWN,
    Table,
    counted,
    duration,
    fixed,
    price_of,
    show_known,
    show_value,
    significant,
)

_SPEC_COLUMNS = ("method", "ema_scope", "backbone", "dataset", "epochs", "seed")
DESCRIBED = ("id", "name", "state", "smoke", *_SPEC_COLUMNS, "network", "created_at")
"""Columns of ``data_table`` that hold no measured number."""
PERCENT = re.compile(r"top[15](@|$)|few_shot_")
"""Names of results that are accuracies."""
NETWORK = "evaluation.network"
_RESULT_COLUMNS = ("top1", "knn_top1", "online_top1")
_SPARE = (
    "online_top1",
    "created",
    "epochs",
    "dataset",
    "backbone",
    "total",
    "images/s",
    "knn_top1",
    "network",
    "name",
)


def reading_table(runs: Sequence[RunRecord]) -> Table:
    """Return one line per run, rounded: accuracies in percent, throughput in images/s."""
    figures = (*_RESULT_COLUMNS, *on_other_images(runs))
    rows = [
        (
            run.id,
            run.name or UNKNOWN,
            state_in_words(run),
            *(show_known(spec_value(run, name)) for name in _SPEC_COLUMNS),
            show_known(evaluated_network(run)),
            *(fixed(run.results.get(name)) for name in figures),
            significant(run.cost.throughput),
            duration(run.cost.total_s),
            f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
        for run in runs
    ]
    numbers = ("epochs", "seed", *figures, "images/s", "total")
    headers = ("id", "name", "state", *_SPEC_COLUMNS, "network", *figures, "images/s", "total")
    return Table(
        (*headers, "created"),
        tuple(rows),
        right=frozenset(numbers),
        whole=frozenset({"state", "ema_scope", "created"}),
        spare=_SPARE,
    )


def on_other_images(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the names of the accuracies on further images, such as ``top1@cifar100``."""
    names = dict.fromkeys(name for run in runs for name in run.results if name.startswith("top1@"))
    return tuple(name for name in names if name.partition("@")[2] not in FLOORS)


def chosen_columns(text: str) -> list[RunField]:
    """Return what a comma list of columns names.

    Raises:
        UsageError: a part is empty.
        SpecError: a run has nothing of this name.
    """
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UsageError(f"--columns {text!r} has an empty part", hint="for example id,top1")
    return [RunField.parse(name) for name in names]


def table_of(runs: Sequence[RunRecord], columns: Sequence[RunField], *, exact: bool) -> Table:
    """Return one line per run with the columns that somebody chose.

    Args:
        runs: the runs.
        columns: what of them.
        exact: whether values are as they are, for programs, or rounded for readers.
    """
    headers = tuple(column.name for column in columns)
    values = [[column.value(run) for column in columns] for run in runs]
    if exact:
        moments = [[v.isoformat() if isinstance(v, datetime) else v for v in row] for row in values]
        return Table(headers, tuple(map(tuple, moments)))
    rows = [tuple(map(_cell, columns, row)) for row in values]
    numbers = {
        column.name
        for place, column in enumerate(columns)
        if column.kind in ("result", "cost")
        or any(isinstance(row[place], int | float) for row in values)
    }
    whole = frozenset(set(headers) & {"id", "state", "ema_scope", "created"})
    return Table(headers, tuple(rows), right=frozenset(numbers), whole=whole)


def _cell(column: RunField, value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M}"
    if column.kind == "result":
        return fixed(value) if PERCENT.search(column.name) else f"{value:.6g}"
    if column.kind == "cost":
        return duration(value) if column.name.endswith("_s") else significant(value)
    return value if isinstance(value, str) else show_value(value)


def data_table(runs: Sequence[RunRecord]) -> Table:
    """Return one line per run in full precision, every reading of the cost included, for CSV."""
    costs = list(runs[0].cost.as_dict()) if runs else []
    results = list(dict.fromkeys(name for run in runs for name in run.results))
    described = ("id", "name", "state", "smoke", *_SPEC_COLUMNS, "network")
    headers = (*described, *results, *costs, "created_at")
    rows = [
        (
            run.id,
            run.name,
            run.state.value,
            run.smoke,
            *(spec_value(run, name) for name in _SPEC_COLUMNS),
            evaluated_network(run),
            *(run.results.get(name) for name in results),
            *run.cost.as_dict().values(),
            run.created_at.isoformat(),
        )
        for run in runs
    ]
    return Table(headers, tuple(rows))


def run_values(run: RunRecord) -> dict[str, Any]:
    """Return a run as plain values for JSON: the line of ``list --json``."""
    return {
        "id": run.id,
        "name": run.name,
        "studies": list(run.studies),
        "tags": list(run.tags),
        "note": run.note,
        "state": run.state.value,
        "smoke": run.smoke,
        "collapsed": is_collapsed(run),
        **{name: spec_value(run, name) for name in _SPEC_COLUMNS},
        "network": evaluated_network(run),
        "results": dict(run.results),
        "cost": run.cost.as_dict(),
        "identity": dict(run.identity),
        "fingerprint": run.fingerprint,
        "command": run.command,
        "created_at": run.created_at.isoformat(),
        "warnings": list(run.warnings),
    }


def run_details(
    run: RunRecord, last_metrics: Sequence[MetricPoint], *, price_per_hour: float | None = None
) -> dict[str, Any]:
    """Return everything that is known of a run as plain values for JSON.

    Args:
        run: the run.
        last_metrics: the newest point of each metric; NaN becomes null.
        price_per_hour: of the device; gives the price of the run.
    """
    return {
        **run_values(run),
        "price": price_of(run.cost.total_s, price_per_hour),
        "spec": dict(run.spec),
        "environment": _environment(run),
        "jobs": [_job(job) for job in run.jobs],
        "metrics": [
            {**asdict(point), "value": point.value if math.isfinite(point.value) else None}
            for point in last_metrics
        ],
    }


def last_points(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    """Return the newest point of each metric, in the order of names."""
    newest: dict[str, MetricPoint] = {}
    for point in points:
        if point.name not in newest or point.step >= newest[point.name].step:
            newest[point.name] = point
    return [newest[name] for name in sorted(newest)]


def spec_value(run: RunRecord, name: str) -> Any:
    """Return the value of a field of the run's spec by the short name of its flag."""
    return value_at(run.spec, SHORT_NAMES[name])


def evaluated_network(run: RunRecord) -> str | None:
    """Return whose accuracies a run has; None where nothing is evaluated."""
    is_evaluated = any(job.kind is JobKind.LINEAR_EVAL for job in run.jobs)
    return value_at(run.spec, NETWORK) if is_evaluated else None


def _environment(run: RunRecord) -> dict[str, Any] | None:
    if run.environment is None:
        return None
    values: Mapping[str, Any] = vars(run.environment)
    return {**values, "versions": dict(run.environment.versions)}


def _job(job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind.value,
        "state": job.state.value,
        "reason": job.reason,
        "depends_on": job.depends_on,
        "fingerprint": job.fingerprint,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
    }


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "state": attempt.state.value,
        "started_at": _moment(attempt.started_at),
        "ended_at": _moment(attempt.ended_at),
        "reason": attempt.reason,
        "cost": None if attempt.cost is None else attempt.cost.as_dict(),
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def choose_runs(
    runs: Sequence[RunRecord],
    *,
    state: str | None,
    smoke: bool,
    limit: int | None,
    is_sorted: bool = False,
    what: str = "run",
) -> tuple[list[RunRecord], list[str]]:
    """Return the runs to show, in their order, and lines about what is missing.

    Args:
        runs: newest last, or as they were sorted.
        state: only runs in this state.
        smoke: whether smoke runs are shown.
        limit: at most this many: the newest, or the first of those that are sorted.
        is_sorted: whether somebody sorted them.
        what: what they are: ``run`` or ``evaluation``.

    Raises:
        UnknownNameError: there is no such state.
    """
    states = [word.value for word in JobState]
    if state is not None and state not in states:
        raise UnknownNameError("state", state, states)
    fitting = [run for run in runs if state is None or run.state == state]
    chosen = select(fitting, smoke=smoke, profiled=True, unfinished=True, repeated=True)
    shown, hidden = list(chosen.runs), len(chosen.left_out)
    notes = []
    if not shown:
        notes.append(f"no {what}s")
    if hidden:
        notes.append(f"hint: {counted(hidden, f'smoke {what}')} left out; --smoke lists them too")
    elif not runs:
        command = "run" if what == "run" else "eval"
        notes.append(f"hint: emabench {command} makes one; --where may be too narrow")
    elif not shown:
        notes.append(f"hint: no {what} is {state}; emabench list shows all")
    if limit is not None:
        shown = shown[:limit] if is_sorted else shown[-limit:]
    return shown, notes
