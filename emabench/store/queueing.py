"""What a user does to queued and finished jobs: cancel, try again, remove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from emabench.errors import UsageError
from emabench.records import JobState
from emabench.store.attempts import end_dependants
from emabench.store.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
)

_CANCELLED = "cancelled by the user"
_UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
_TO_RETRY = (JobState.FAILED, JobState.CANCELLED)


def cancel_jobs(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Cancel jobs that are not finished, and those that need them; return the ids of all of them.

    A worker that is at one of them finds itself fenced at its next word and stops.
    """
    waiting = _in_state(session, job_ids, _UNFINISHED)
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
    wanted = {job.id: job for job in _in_state(session, job_ids, _TO_RETRY)}
    for job in list(wanted.values()):
        needed = job
        while needed.depends_on is not None:
            needed = session.get_one(Job, needed.depends_on)
            if needed.state in _TO_RETRY:
                wanted[needed.id] = needed
    for job in wanted.values():
        requeue(job)
    return list(wanted)


def requeue(job: Job) -> None:
    """Queue a job again as if it had never failed; its attempts stay on record."""
    job.state, job.reason, job.failures = JobState.QUEUED, None, 0
    job.queued_at = datetime.now(UTC)


def remove_experiments(session: Session, experiment_ids: Sequence[int]) -> None:
    """Delete runs with all that belongs to them.

    Raises:
        UsageError: somebody works on one of them.
    """
    chosen = select(Job).where(Job.experiment_id.in_(experiment_ids)).with_for_update()
    jobs = list(session.scalars(chosen.order_by(Job.position.desc())))
    for job in jobs:
        if job.state is JobState.RUNNING:
            raise UsageError(
                f"job {job.id} is running", hint=f"stop it first: emabench cancel {job.id}"
            )
    ids = [job.id for job in jobs]
    attempts = select(Attempt.id).where(Attempt.job_id.in_(ids))
    session.execute(delete(Cost).where(Cost.attempt_id.in_(attempts)))
    for table in (Attempt, Metric, Result):
        session.execute(delete(table).where(table.job_id.in_(ids)))
    for job_id in ids:  # what depends on another one goes first
        session.execute(delete(Job).where(Job.id == job_id))
    session.execute(delete(Experiment).where(Experiment.id.in_(experiment_ids)))
    used = select(Attempt.environment_id).where(Attempt.environment_id.is_not(None))
    session.execute(delete(EnvironmentRow).where(EnvironmentRow.id.not_in(used)))


def _in_state(session: Session, job_ids: Sequence[str], states: Sequence[JobState]) -> list[Job]:
    query = select(Job).where(Job.id.in_(job_ids), Job.state.in_(states)).with_for_update()
    return list(session.scalars(query.order_by(Job.experiment_id, Job.position)))
