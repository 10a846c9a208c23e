"""What a worker writes about its attempt at a job, each write fenced by the attempt's number.

A worker that was declared dead, and whose job another one took, must not change anything any
more: every write first checks, and locks, ``attempt = mine AND state = 'running'`` in its own
transaction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from emabench.errors import FencedError
from emabench.events import StepProgress
from emabench.records import Claim, CostReading, Environment, JobState, MetricPoint
from emabench.store.queue.locking import NO_KEY
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.runs.environments import environment_id, environment_row
from emabench.store.runs.points import write_points
from emabench.store.schema.tables import Attempt, Cost, Job, Result


def begin_attempt(
    session: Session, claim: Claim, environment: Environment, process: ProcessIdentity
) -> None:
    """Say which process works on a claimed attempt, and where.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    _update_attempt(
        session,
        claim,
        host=process.host,
        pid=process.pid,
        process_started=process.started,
        environment_id=environment_id(session, environment_row(environment)),
    )


def beat(session: Session, claim: Claim, progress: StepProgress | None, count: int | None) -> None:
    """Count the heartbeat on, or set it to a count, and say how far the attempt got.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    values: dict[str, Any] = {"heartbeat": Attempt.heartbeat + 1 if count is None else count}
    if progress is not None:
        values |= {
            "step": progress.step,
            "total_steps": progress.total_steps,
            "loss": _storable(progress.loss),
            "images_per_second": progress.images_per_second,
        }
    _update_attempt(session, claim, **values)


def write_metrics(
    session: Session, claim: Claim, points: Iterable[MetricPoint], cost: CostReading | None
) -> None:
    """Write points, over those of an earlier attempt; of two with one step and name the later.

    What the attempt cost so far is written beside them: a killed one has no later word.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    hold_attempt(session, claim)
    if cost is not None:
        _write_cost(session, claim, cost)
    latest = {(point.step, point.name): point for point in points}.values()
    write_points(
        session,
        claim.job_id,
        [{**asdict(point), "value": _storable(point.value)} for point in latest],
    )


def hold_attempt(session: Session, claim: Claim) -> None:
    """Lock the job until the commit.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    _move(session, claim, JobState.RUNNING, reason=None)


def forget_failures(session: Session, claim: Claim, step: int, *, resumed: bool) -> None:
    """Count failures anew, since something new was saved.

    A checkpoint of an attempt that was resumed is new. That of one that began anew is only where
    no earlier attempt came so far: a job that loses what it saves does not go on for ever.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    reached = session.scalar(
        select(func.max(Attempt.step)).where(
            Attempt.job_id == claim.job_id, Attempt.number < claim.attempt
        )
    )
    if not resumed and reached is not None and step <= reached:
        return
    forgotten = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.attempt == claim.attempt, Job.state == JobState.RUNNING)
        .values(failures=0)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).first()
    if forgotten is None:
        raise _fenced(claim)


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
            row.value = _storable(results[name])
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
    reason = None if reason is None else _storable_text(reason)
    _move(session, claim, job, reason=reason)
    _update_attempt(session, claim, state=attempt, reason=reason, ended_at=datetime.now(UTC))
    if cost is not None:
        _write_cost(session, claim, cost)
    if job is JobState.FAILED:
        end_dependants(session, claim.job_id, JobState.FAILED, reason or "no reason given")


def reap_attempt(session: Session, claim: Claim, heartbeat: int, *, reason: str) -> JobState:
    """End the attempt as failed if its heartbeat still stands where an observer saw it.

    Raises:
        FencedError: it counted on, or somebody else ended the attempt.
    """
    job = select(Job.id).where(Job.id == claim.job_id).with_for_update(**NO_KEY)
    attempt = (
        select(Attempt.heartbeat)
        .where(Attempt.job_id == claim.job_id, Attempt.number == claim.attempt)
        .with_for_update(**NO_KEY)
    )
    session.execute(job)  # the job before its attempt, as everywhere
    if session.scalar(attempt) != heartbeat:
        raise _fenced(claim)
    return fail_attempt(session, claim, reason=reason, cost=None, retry=True)


def fail_attempt(
    session: Session, claim: Claim, *, reason: str, cost: CostReading | None, retry: bool
) -> JobState:
    """End the attempt as failed; the job is queued again if that may help, else it failed too.

    Raises:
        FencedError: the attempt is no longer this worker's.
    """
    job = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.attempt == claim.attempt, Job.state == JobState.RUNNING)
        .values(failures=Job.failures + 1)
        .returning(Job.failures, Job.max_attempts)
        .execution_options(synchronize_session=False)
    ).first()
    again = retry and job is not None and job.failures < job.max_attempts
    state = JobState.QUEUED if again else JobState.FAILED
    end_attempt(session, claim, job=state, attempt=JobState.FAILED, reason=reason, cost=cost)
    return state


def end_dependants(session: Session, job_id: str, state: JobState, reason: str) -> None:
    """Give the queued jobs that need a job, directly or not, the state that it came to."""
    waiting = [job_id]
    while waiting:
        needed = waiting.pop()
        dependants = (
            select(Job)
            .where(Job.depends_on == needed, Job.state == JobState.QUEUED)
            .order_by(Job.experiment_id, Job.position)
            .with_for_update(**NO_KEY)
        )
        for job in session.scalars(dependants):
            job.state = state
            job.reason = f"needs job {needed}, which {_ENDED[state]}: {reason}"
            waiting.append(job.id)


_ENDED = {JobState.FAILED: "failed", JobState.CANCELLED: "was cancelled"}


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
        raise _fenced(claim)


def _update_attempt(session: Session, claim: Claim, **values: Any) -> None:
    """Change the row of the attempt if it is still running; locks it until the commit."""
    changed = session.execute(
        update(Attempt)
        .where(
            Attempt.job_id == claim.job_id,
            Attempt.number == claim.attempt,
            Attempt.state == JobState.RUNNING,
        )
        .values(**values)
        .returning(Attempt.id)
        .execution_options(synchronize_session=False)
    ).first()
    if changed is None:
        raise _fenced(claim)


def _storable(value: float) -> float | None:
    """Return the value as the database holds it: NaN is NULL."""
    number = float(value)
    return None if math.isnan(number) else number


def _storable_text(text: str) -> str:
    """Return text that every database takes: names of files may hold bytes that are no letters."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")


def _fenced(claim: Claim) -> FencedError:
    return FencedError(
        f"attempt {claim.attempt} at job {claim.job_id} was ended by somebody else",
        hint="emabench show says what became of the job",
    )


def _write_cost(session: Session, claim: Claim, cost: CostReading) -> None:
    """Write what the attempt cost; what is not finite is unknown."""
    attempt = session.scalars(
        select(Attempt.id).where(Attempt.job_id == claim.job_id, Attempt.number == claim.attempt)
    ).one()
    readings = cost.as_dict().items()
    known = {name: value for name, value in readings if value is not None and math.isfinite(value)}
    session.merge(Cost(attempt_id=attempt, **known))
