"""Rows become frozen records here and in ``whole_runs.py``, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import asdict, fields

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from emabench.records import AttemptRecord, CostReading, Environment, JobRecord
from emabench.spec.fingerprint import fingerprint
from emabench.store.schema.tables import Attempt, Cost, EnvironmentRow, Experiment, Job


def job_record(row: Job, experiment: Experiment) -> JobRecord:
    """Return a job with its attempts; its spec is the whole resolved experiment."""
    return JobRecord(
        id=row.id,
        run_id=experiment.jobs[0].id,
        kind=row.kind,
        state=row.state,
        fingerprint=row.fingerprint,
        spec=experiment.spec,
        depends_on=row.depends_on,
        attempt=row.attempt,
        reason=row.reason,
        created_at=row.created_at,
        priority=row.priority,
        failures=row.failures,
        max_attempts=row.max_attempts,
        device_kind=row.device_kind,
        attempts=tuple(attempt_record(attempt) for attempt in row.attempts),
    )


def attempt_record(row: Attempt) -> AttemptRecord:
    """Return an attempt with its environment and cost."""
    return AttemptRecord(
        number=row.number,
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
        reason=row.reason,
        environment=None if row.environment is None else environment(row.environment),
        cost=None if row.cost is None else _cost(row.cost),
    )


def environment_row(environment: Environment) -> EnvironmentRow:
    """Return the row of an environment; equal environments have equal hashes."""
    values = asdict(environment)
    values["versions"] = dict(environment.versions)
    return EnvironmentRow(hash=fingerprint(values), **values)


def environment_id(session: Session, row: EnvironmentRow) -> int:
    """Return the id of the row that has the hash of this one; inserts it where it is new."""
    known = select(EnvironmentRow.id).where(EnvironmentRow.hash == row.hash)
    known = known.with_for_update(read=True, key_share=True)  # so that nobody deletes it now
    found = session.scalar(known)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process inserted the same environment just now
        return session.scalars(known).one()
    return row.id


def cost_row(attempt_id: int, cost: CostReading) -> Cost:
    """Return the row of what an attempt cost; what is not finite is unknown."""
    known = {name: value for name, value in cost.as_dict().items() if _is_finite(value)}
    return Cost(attempt_id=attempt_id, **known)


def storable(value: float) -> float | None:
    """Return the value as the database holds it: NaN is NULL."""
    number = float(value)
    return None if math.isnan(number) else number


def environment(row: EnvironmentRow) -> Environment:
    """Return the environment of a row."""
    return Environment(**{f.name: getattr(row, f.name) for f in fields(Environment)})


def _cost(row: Cost) -> CostReading:
    return CostReading(**{f.name: getattr(row, f.name) for f in fields(CostReading)})


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
