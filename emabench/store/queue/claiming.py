"""Taking a job out of the queue: one guarded statement, so that exactly one worker gets it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from emabench.records import Claim, Environment, JobState
from emabench.spec.version import SPEC_VERSION
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.runs.environments import environment_id, environment_row
from emabench.store.schema.tables import Attempt, Experiment, Job


def claim_job(
    session: Session, job_id: str, *, environment: Environment | None, device: str | None
) -> Claim | None:
    """Take one job if it is queued and what it depends on is done; else return None."""
    return _take(session, Job.id == job_id, environment, device)


def claim_next(session: Session, device_kind: str, *, device: str | None) -> Claim | None:
    """Take the first job of the queue for a kind of device; None if there is none to take.

    The order is: highest priority, oldest run, order within the run. Jobs of a newer spec version
    are left to newer workers.
    """
    candidate = aliased(Job)
    first = (
        select(candidate.id)
        .where(
            candidate.state == JobState.QUEUED,
            candidate.device_kind == device_kind,
            candidate.spec_version <= SPEC_VERSION,
            _is_free(candidate),
        )
        .order_by(candidate.priority.desc(), candidate.experiment_id, candidate.position)
        .limit(1)
        .with_for_update(skip_locked=True)  # of a server; SQLite has one writer at a time
        .scalar_subquery()
    )
    return _take(session, Job.id == first, None, device)


def _take(
    session: Session,
    which: ColumnElement[bool],
    environment: Environment | None,
    device: str | None,
) -> Claim | None:
    taken = session.execute(
        update(Job)
        .where(which, _is_queued(Job), _is_free(Job))
        .values(state=JobState.RUNNING, attempt=Job.attempt + 1, reason=None)
        .returning(Job.id, Job.attempt, Job.kind, Job.depends_on, Job.experiment_id, Job.queued_at)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        return None
    now = datetime.now(UTC)
    process = ProcessIdentity.of_this()
    session.add(
        Attempt(
            job_id=taken.id,
            number=taken.attempt,
            state=JobState.RUNNING,
            started_at=now,
            host=process.host,
            pid=process.pid,
            process_started=process.started,
            device=device,
            environment_id=environment and environment_id(session, environment_row(environment)),
        )
    )
    experiment = session.get_one(Experiment, taken.experiment_id)
    return Claim(
        job_id=taken.id,
        kind=taken.kind,
        attempt=taken.attempt,
        spec=experiment.spec,
        depends_on=taken.depends_on,
        queued_s=max(0.0, (now - taken.queued_at).total_seconds()),
        run_id=experiment.jobs[0].id,
        threads=experiment.identity.get("threads"),
        weights=experiment.identity.get("weights"),
    )


def _is_queued(job: Any) -> ColumnElement[bool]:
    """Whether a job that is known by its id is queued."""
    # An expression, since a server may take a mere column for a reason to read the whole queue.
    return func.coalesce(job.state, "") == JobState.QUEUED.value


def _is_free(job: Any) -> ColumnElement[bool]:
    """Whether what the job depends on, if anything, is done."""
    needed = aliased(Job)
    # The state itself and not EXISTS, for which a server may read all jobs that are done.
    state = select(needed.state).where(needed.id == job.depends_on).correlate(job)
    return or_(job.depends_on.is_(None), state.scalar_subquery() == JobState.DONE)
