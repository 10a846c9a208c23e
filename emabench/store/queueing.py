"""What a user does to queued and finished jobs: cancel, try again, remove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from emabench.errors import UsageError
from emabench.records import JobState
from emabench.store.attempts import end_dependants
from emabench.store.locking import lock_jobs, with_dependants, with_needed
from emabench.store.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Series,
)

_CANCELLED = "cancelled by the user"
_UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
_TO_RETRY = (JobState.FAILED, JobState.CANCELLED)


def cancel_jobs(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Cancel jobs that are not finished, and those that need them; return the ids of the former.

    A worker that is at one of them finds itself fenced at its next word and stops.
    """
    chosen = set(job_ids)
    locked = lock_jobs(session, with_dependants(session, chosen))
    waiting = [job for job in locked if job.id in chosen and job.state in _UNFINISHED]
    for job in waiting:
        job.state, job.reason = JobState.CANCELLED, _CANCELLED
        session.execute(
            update(Attempt)
            .where(Attempt.job_id == job.id, Attempt.state == JobState.RUNNING)
            .values(state=JobState.CANCELLED, reason=_CANCELLED, ended_at=datetime.now(UTC))
        )
        end_dependants(session, job.id, JobState.CANCELLED, _CANCELLED)
    return [job.id for job in waiting]


def retry_jobs(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Queue failed and cancelled jobs again, with all their attempts; return their ids.

    A job that only failed because of the one it needs takes that one along.
    """
    locked = {job.id: job for job in lock_jobs(session, with_needed(session, job_ids))}
    wanted = set()
    for job_id in job_ids:
        job = locked.get(job_id)
        while job is not None and job.state in _TO_RETRY:
            wanted.add(job.id)
            job = locked.get(job.depends_on or "")
    for job_id in wanted:
        requeue(locked[job_id])
    return [job_id for job_id in locked if job_id in wanted]


def requeue(job: Job) -> None:
    """Queue a job again as if it had never failed; its attempts stay on record."""
    job.state, job.reason, job.failures = JobState.QUEUED, None, 0
    job.queued_at = datetime.now(UTC)


def remove_experiments(session: Session, experiment_ids: Sequence[int]) -> None:
    """Delete runs with all that belongs to them.

    Raises:
        UsageError: somebody works on one of them.
    """
    chosen = select(Job.id).where(Job.experiment_id.in_(experiment_ids))
    jobs = lock_jobs(session, session.scalars(chosen).all())
    for job in jobs:
        if job.state is JobState.RUNNING:
            raise UsageError(
                f"job {job.id} is running", hint=f"stop it first: emabench cancel {job.id}"
            )
    ids = [job.id for job in reversed(jobs)]
    attempts = select(Attempt.id).where(Attempt.job_id.in_(ids))
    session.execute(delete(Cost).where(Cost.attempt_id.in_(attempts)))
    series = select(Series.id).where(Series.job_id.in_(ids))
    session.execute(delete(Metric).where(Metric.series_id.in_(series)))
    for table in (Attempt, Series, Result):
        session.execute(delete(table).where(table.job_id.in_(ids)))
    for job_id in ids:  # what depends on another one goes first
        session.execute(delete(Job).where(Job.id == job_id))
    session.execute(delete(Experiment).where(Experiment.id.in_(experiment_ids)))
    used = select(Attempt.environment_id).where(Attempt.environment_id.is_not(None))
    unused = select(EnvironmentRow.id).where(EnvironmentRow.id.not_in(used))
    # One that an attempt is about to name is locked: it stays, and nobody waits.
    free = session.scalars(unused.with_for_update(skip_locked=True)).all()
    gone = delete(EnvironmentRow).where(EnvironmentRow.id.in_(free), EnvironmentRow.id.in_(unused))
    session.execute(gone)
