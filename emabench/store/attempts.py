"""What a worker writes about its attempt at a job, each write fenced by the attempt's number.

A worker that was declared dead, and whose job another one took, must not change anything any
more: every write first checks, and locks, ``attempt = mine AND state = 'running'`` in its own
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from emabench.errors import FencedError
from emabench.records import Claim, CostReading, Environment, JobState, MetricPoint
from emabench.store.processes import ProcessIdentity
from emabench.store.rows import cost_row, environment_row, storable
from emabench.store.tables import Attempt, EnvironmentRow, Experiment, Job, Metric, Result


def claim_job(session: Session, job_id: str, environment: Environment) -> Claim | None:
    """Take a queued job whose dependency is done, in one guarded statement; else None."""
    needed = aliased(Job)
    is_free = or_(
        Job.depends_on.is_(None),
        select(needed.id)
        .where(needed.id == Job.depends_on, needed.state == JobState.DONE)
        .correlate(Job)
        .exists(),
    )
    taken = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.QUEUED, is_free)
        .values(state=JobState.RUNNING, attempt=Job.attempt + 1, reason=None)
        .returning(Job.attempt, Job.kind, Job.depends_on, Job.experiment_id, Job.queued_at)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        return None
    now = datetime.now(UTC)
    process = ProcessIdentity.of_this()
    session.add(
        Attempt(
            job_id=job_id,
            number=taken.attempt,
            state=JobState.RUNNING,
            started_at=now,
            host=process.host,
            pid=process.pid,
            process_started=process.started,
            environment_id=_environment_id(session, environment),
        )
    )
    spec = session.scalars(select(Experiment.spec).where(Experiment.id == taken.experiment_id))
    return Claim(
        job_id=job_id,
        kind=taken.kind,
        attempt=taken.attempt,
        spec=spec.one(),
        depends_on=taken.depends_on,
        queued_s=max(0.0, (now - taken.queued_at).total_seconds()),
    )


def write_metrics(session: Session, claim: Claim, points: Iterable[MetricPoint]) -> None:
    """Write points, over those of an earlier attempt; of two with one step and name the later.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    _move(session, claim, JobState.RUNNING, reason=None)
    latest = {(point.step, point.name): point for point in points}
    if not latest:
        return
    table = Metric.__table__
    keys = [{"at": step, "called": name} for step, name in latest]
    session.connection().execute(
        delete(Metric).where(
            Metric.job_id == claim.job_id,
            table.c.step == bindparam("at"),
            table.c.name == bindparam("called"),
        ),
        keys,
    )
    rows = [
        {
            "job_id": claim.job_id,
            "step": point.step,
            "name": point.name,
            "epoch": point.epoch,
            "value": storable(point.value),
        }
        for point in latest.values()
    ]
    session.connection().execute(insert(Metric), rows)


def write_results(
    session: Session, claim: Claim, results: Mapping[str, float], correct: Mapping[str, bytes]
) -> None:
    """Write the final figures of a job; correctness comes as one byte, 0 or 1, per test image.

    Raises:
        ValueError: a byte of ``correct`` is neither 0 nor 1.
    """
    session.execute(delete(Result).where(Result.job_id == claim.job_id))
    for name in [*results, *(name for name in correct if name not in results)]:
        row = Result(job_id=claim.job_id, name=name)
        if name in results:
            row.value = storable(results[name])
        if name in correct:
            flags = np.frombuffer(correct[name], dtype=np.uint8)
            if flags.size and flags.max() > 1:
                raise ValueError(f"correct[{name!r}] holds one byte per image, each 0 or 1")
            row.correct, row.correct_count = np.packbits(flags).tobytes(), int(flags.size)
        session.add(row)


def end_attempt(
    session: Session,
    claim: Claim,
    *,
    job: JobState,
    attempt: JobState,
    reason: str | None,
    cost: CostReading | None,
) -> None:
    """End the attempt and move its job on; a failed job takes its dependants with it.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    _move(session, claim, job, reason=reason)
    row = session.scalars(
        select(Attempt).where(Attempt.job_id == claim.job_id, Attempt.number == claim.attempt)
    ).one()
    row.state, row.reason, row.ended_at = attempt, reason, datetime.now(UTC)
    if cost is not None:
        session.add(cost_row(row.id, cost))
    if job is JobState.FAILED:
        _fail_dependants(session, claim.job_id, reason or "no reason given")


def _move(session: Session, claim: Claim, state: JobState, *, reason: str | None) -> None:
    """Set the job's state if the attempt still owns it; locks the row until the commit."""
    values: dict[str, Any] = {"state": state, "reason": reason}
    if state is JobState.QUEUED:
        values["queued_at"] = datetime.now(UTC)
    moved = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.attempt == claim.attempt, Job.state == JobState.RUNNING)
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).first()
    if moved is None:
        raise FencedError(
            f"attempt {claim.attempt} at job {claim.job_id} was declared dead by somebody else",
            hint="emabench show tells who works on the job now",
        )


def _fail_dependants(session: Session, job_id: str, reason: str) -> None:
    root = reason
    waiting = [job_id]
    while waiting:
        failed = waiting.pop()
        dependants = session.scalars(
            select(Job).where(Job.depends_on == failed, Job.state == JobState.QUEUED)
        )
        for job in dependants:
            job.state = JobState.FAILED
            job.reason = f"needs job {failed}, which failed: {root}"
            waiting.append(job.id)


def _environment_id(session: Session, environment: Environment) -> int:
    row = environment_row(environment)
    known = select(EnvironmentRow.id).where(EnvironmentRow.hash == row.hash)
    found = session.scalar(known)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process inserted the same environment just now
        return session.scalars(known).one()
    return row.id
