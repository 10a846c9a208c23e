"""Runs as lines of JSON: everything that a store holds of them, for another store.

The first line says what the file is; every other one is a run with its jobs, attempts, costs,
environments, metrics and results. Numbers of rows stay behind; ids of jobs go along, and tell a run
from any other in the world. Weights, checkpoints and logs are files, not rows: they are not in it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Enum,
    Float,
    Integer,
    LargeBinary,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.orm import Session, selectinload

from emabench import __version__
from emabench.errors import DataError
from emabench.store import tables
from emabench.store.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Table,
    UtcDateTime,
)

_FORMAT = "emabench-runs"
_VERSION = 1
_OWN_KEYS: dict[type[Table], set[str]] = {
    Experiment: {"id"},
    Job: {"experiment_id"},
    Attempt: {"id", "job_id", "environment_id"},
    EnvironmentRow: {"id"},
    Cost: {"attempt_id"},
    Metric: {"job_id"},
    Result: {"job_id"},
}
"""Columns that say where a row stands in its store; its place in the line says it here."""


def bundle_lines(session: Session, experiment_ids: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a bundle, without line ends.

    Args:
        session: a reading session.
        experiment_ids: the runs, in the order in which they are written.
    """
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "schema": tables.SCHEMA_REVISION,
        "emabench": __version__,
        "exported_at": datetime.now(UTC).isoformat(),
        "runs": len(experiment_ids),
    }
    yield json.dumps(head, ensure_ascii=False)
    whole = select(Experiment).options(
        selectinload(Experiment.jobs).selectinload(Job.results),
        selectinload(Experiment.jobs)
        .selectinload(Job.attempts)
        .options(selectinload(Attempt.cost), selectinload(Attempt.environment)),
    )
    for experiment_id in experiment_ids:
        experiment = session.scalars(whole.where(Experiment.id == experiment_id)).one()
        run = {**_values(experiment), "jobs": [_job(session, job) for job in experiment.jobs]}
        yield json.dumps(run, ensure_ascii=False, allow_nan=False)
        session.expunge_all()


def read_bundle(session: Session, lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Insert the runs of a bundle that the store does not hold yet.

    Args:
        session: a writing session; all or nothing is its transaction's business.
        lines: of the bundle.

    Returns:
        Ids of the runs that were inserted, and of those that were there.

    Raises:
        DataError: a line is damaged, lines are missing, or a newer emabench wrote them.
    """
    numbered = enumerate(lines, start=1)
    head = _parse(*next(numbered, (1, "")))
    _check_head(head)
    inserted: list[str] = []
    existing: list[str] = []
    for number, line in numbered:
        run = _parse(number, line)
        try:
            run_id = str(run["jobs"][0]["id"])
            if session.get(Job, run_id) is not None:
                existing.append(run_id)
                continue
            _insert_run(session, run)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"line {number} of the bundle is damaged: {type(error).__name__}: {error}",
                hint="nothing was imported; export the runs again",
            ) from None
        inserted.append(run_id)
    if len(inserted) + len(existing) != head["runs"]:
        raise DataError(
            f"the bundle holds {len(inserted) + len(existing)} of its {head['runs']} runs",
            hint="nothing was imported: it was cut short; copy it again",
        )
    return inserted, existing


def _job(session: Session, job: Job) -> dict[str, Any]:
    points = session.scalars(
        select(Metric).where(Metric.job_id == job.id).order_by(Metric.step, Metric.name)
    )
    return {
        **_values(job),
        "attempts": [
            {
                **_values(attempt),
                "environment": None
                if attempt.environment is None
                else _values(attempt.environment),
                "cost": None if attempt.cost is None else _values(attempt.cost),
            }
            for attempt in job.attempts
        ],
        "metrics": [_values(point) for point in points],
        "results": [_values(row) for row in sorted(job.results, key=lambda row: row.name)],
    }


def _insert_run(session: Session, run: Mapping[str, Any]) -> None:
    experiment = _row(Experiment, run)
    taken = session.scalar(
        select(func.max(Experiment.repeat)).where(Experiment.fingerprint == experiment.fingerprint)
    )
    clash = select(Experiment.id).where(
        Experiment.fingerprint == experiment.fingerprint, Experiment.repeat == experiment.repeat
    )
    if taken is not None and session.scalar(clash) is not None:
        experiment.repeat = taken + 1
    session.add(experiment)
    session.flush()
    for values in run["jobs"]:
        job = _row(Job, values)
        job.experiment_id = experiment.id
        session.add(job)
        session.flush()
        for each in values["attempts"]:
            _insert_attempt(session, job.id, each)
        for table, rows in ((Metric, values["metrics"]), (Result, values["results"])):
            if rows:
                decoded = [{**_decoded(table, row), "job_id": job.id} for row in rows]
                session.execute(insert(table), decoded)
    session.flush()


def _insert_attempt(session: Session, job_id: str, values: Mapping[str, Any]) -> None:
    attempt = _row(Attempt, values)
    attempt.job_id = job_id
    if values["environment"] is not None:
        environment = _row(EnvironmentRow, values["environment"])
        known = select(EnvironmentRow.id).where(EnvironmentRow.hash == environment.hash)
        attempt.environment_id = session.scalar(known)
        if attempt.environment_id is None:
            session.add(environment)
            session.flush()
            attempt.environment_id = environment.id
    session.add(attempt)
    session.flush()
    if values["cost"] is not None:
        session.add(Cost(attempt_id=attempt.id, **_decoded(Cost, values["cost"])))


def _check_head(head: Mapping[str, Any]) -> None:
    if head.get("format") != _FORMAT or not isinstance(head.get("runs"), int):
        raise DataError("this is no bundle of runs", hint="emabench export writes one")
    newer = head.get("version") != _VERSION or str(head.get("schema")) > tables.SCHEMA_REVISION
    if newer:
        raise DataError(
            f"the bundle was written by emabench {head.get('emabench')}, for schema "
            f"{head.get('schema')}; this one knows {tables.SCHEMA_REVISION}",
            hint="pip install --upgrade emabench",
        )


def _parse(number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        what = "this is no bundle of runs" if number == 1 else f"line {number} is damaged"
        raise DataError(what, hint="nothing was imported; emabench export writes a bundle")
    return value


def _values(row: Table) -> dict[str, Any]:
    table = type(row)
    return {
        column.key: _encoded(getattr(row, column.key))
        for column in inspect(table).columns
        if column.key not in _OWN_KEYS[table]
    }


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


def _row(table: type[Any], values: Mapping[str, Any]) -> Any:
    return table(**_decoded(table, values))


def _decoded(table: type[Table], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the columns; one that the bundle does not have takes its default."""
    return {
        column.key: _as_column(column, values[column.key])
        for column in inspect(table).columns
        if column.key not in _OWN_KEYS[table] and column.key in values
    }


def _as_column(column: Column[Any], value: Any) -> Any:
    """Return a value in the type of its column.

    Raises:
        ValueError: it is of another type.
    """
    kind = column.type
    if value is None:
        if not column.nullable:
            raise ValueError(f"{column.key} is missing")
        return None
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, Enum):
        assert kind.enum_class is not None
        return kind.enum_class(value)
    if isinstance(kind, LargeBinary):
        return base64.b64decode(value, validate=True)
    if isinstance(kind, Float):
        return float(value)
    if isinstance(kind, JSON):
        return value
    if not isinstance(value, int if isinstance(kind, Integer) else kind.python_type):
        raise ValueError(f"{column.key} is {value!r}")
    return value
