"""Runs as lines of JSON: everything that a store holds of them, for another store.

The first line says what the file is; every other one is a run with its jobs, attempts, costs,
environments, metrics and results. Numbers of rows stay behind; ids of jobs go along, and tell a run
from any other in the world. Weights, checkpoints and logs are files, not rows: they are not in it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session, selectinload, undefer

from emabench.store.schema import tables
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Series,
    StudyRun,
    Table,
)
from emabench.version import __version__

FORMAT = "emabench-runs"
VERSION = 1
OWN_KEYS: dict[type[Table], set[str]] = {
    Experiment: {"id"},
    Job: {"experiment_id"},
    Attempt: {"id", "job_id", "environment_id"},
    EnvironmentRow: {"id"},
    Cost: {"attempt_id"},
    Series: {"id", "job_id"},
    Metric: {"series_id"},
    Result: {"job_id"},
    StudyRun: {"experiment_id"},
}
"""Columns that say where a row stands in its store; its place in the line says it here."""


def bundle_lines(session: Session, experiment_ids: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a bundle, without line ends and in ASCII.

    Args:
        session: a reading session.
        experiment_ids: the runs, in the order in which they are written.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "schema": tables.SCHEMA_REVISION,
        "emabench": __version__,
        "exported_at": datetime.now(UTC).isoformat(),
        "runs": len(experiment_ids),
    }
    yield json.dumps(head)
    whole = select(Experiment).options(
        selectinload(Experiment.jobs).selectinload(Job.results).options(undefer(Result.correct)),
        selectinload(Experiment.jobs)
        .selectinload(Job.attempts)
        .options(selectinload(Attempt.cost), selectinload(Attempt.environment)),
        selectinload(Experiment.studies),
    )
    for experiment_id in experiment_ids:
        experiment = session.scalars(whole.where(Experiment.id == experiment_id)).one()
        run = {
            **_values(experiment),
            "studies": [each.study for each in experiment.studies],
            "jobs": [_job(session, job) for job in experiment.jobs],
        }
        yield json.dumps(run, allow_nan=False)
        session.expunge_all()


def _job(session: Session, job: Job) -> dict[str, Any]:
    points = session.execute(
        select(Metric.step, Series.name, Metric.epoch, Metric.value)
        .join(Series, Series.id == Metric.series_id)
        .where(Series.job_id == job.id)
        .order_by(Metric.step, Series.name)
    )
    return {
        **_values(job),
        "attempts": [_attempt(attempt) for attempt in job.attempts],
        "metrics": [
            {name: _encoded(value) for name, value in point._mapping.items()} for point in points
        ],
        "results": [_values(row) for row in sorted(job.results, key=lambda row: row.name)],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    environment, cost = attempt.environment, attempt.cost
    return {
        **_values(attempt),
        "environment": None if environment is None else _values(environment),
        "cost": None if cost is None else _values(cost),
    }


def _values(row: Table) -> dict[str, Any]:
    table = type(row)
    return {
        column.key: _encoded(getattr(row, column.key))
        for column in inspect(table).columns
        if column.key not in OWN_KEYS[table]
    }


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value
