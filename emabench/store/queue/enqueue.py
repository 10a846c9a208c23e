"""Queueing a planned run: once for each fingerprint, unless a repeat is forced."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, selectinload

from emabench.errors import UsageError
from emabench.extensions.plugin_reference import needed_by
from emabench.records import JobKind, JobState, PlannedRun, QueuedRun
from emabench.spec.fingerprint import fingerprint
from emabench.spec.pretrain import GIVEN
from emabench.spec.revisions import EVALUATION
from emabench.store.queue.attempts import end_dependants
from emabench.store.queue.locking import lock_jobs, with_dependants, with_needed
from emabench.store.runs.run_summary import run_state
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Series,
    needed_text,
)

_ENDED = (JobState.FAILED, JobState.CANCELLED)


def existing_run(
    session: Session, plan: PlannedRun, weights_gone: Callable[[str], bool] = lambda run: False
) -> QueuedRun | None:
    """Return the run of the same fingerprint, its failed jobs queued again; None if none exists.

    Of several (forced repeats) a finished one is preferred, then the newest. Where there is none, a
    run whose weights are the same becomes that of the plan: its evaluation was mended since, and
    is queued again. Only where its weights are gone it stays as it is: nothing could be evaluated.
    """
    fingerprints = (plan.fingerprint, *plan.earlier_fingerprints)
    row = next(filter(None, (_newest_run(session, each) for each in fingerprints)), None)
    if row is None:
        return None
    is_earlier = row.fingerprint != plan.fingerprint
    if is_earlier and _state(row) is JobState.DONE and weights_gone(row.jobs[0].id):
        return _queued_run(row, existed=True, mended="kept")
    is_repeated = False
    if is_earlier or any(job.state in _ENDED for job in row.jobs):
        locked = lock_jobs(session, [job.id for job in row.jobs])
        now = session.scalar(select(Experiment.fingerprint).where(Experiment.id == row.id))
        if not locked or now != row.fingerprint:  # somebody removed or took the run just now
            session.expire_all()
            return existing_run(session, plan, weights_gone)
        if is_earlier:
            is_repeated = any(
                job.kind is JobKind.LINEAR_EVAL and job.state is JobState.DONE for job in locked
            )
            _evaluate_anew(session, row, plan, locked)
        for job in locked:
            if job.state in _ENDED:
                requeue(job)
    if _state(row) is JobState.QUEUED:
        if plan.is_evaluation or any(name in plan.identity for name in GIVEN):
            # The same weights may lie elsewhere by now.
            row.spec, row.command = _plain(plan.spec), plan.command
        if not plan.is_evaluation and row.jobs[-1].kind is JobKind.LINEAR_EVAL:
            # Whoever evaluates does it as the plan says, whenever the run was queued.
            row.identity = _plain(plan.identity)
    return _queued_run(row, existed=True, mended="repeated" if is_repeated else None)


def _newest_run(session: Session, fingerprint: str) -> Experiment | None:
    """Return the newest run of a fingerprint that is done, else the newest, if there is any."""
    query = (
        select(Experiment)
        .where(Experiment.fingerprint == fingerprint)
        .options(selectinload(Experiment.jobs))
        .order_by(Experiment.repeat.desc())
    )
    rows = [row for row in session.scalars(query) if row.jobs]  # none: removed just now
    return next((row for row in rows if _state(row) is JobState.DONE), rows[0] if rows else None)


def _evaluate_anew(
    session: Session, row: Experiment, plan: PlannedRun, jobs: Sequence[Job]
) -> None:
    """Make an earlier run that of a plan of the same weights: its evaluation counts no more.

    Args:
        session: a writing session.
        row: the run.
        plan: with the fingerprint and the identity of today; no run has this fingerprint.
        jobs: those of the run, locked.
    """
    # Two processes that find no run of the plan, and do different things, would both be the first.
    row.fingerprint, row.repeat, row.identity = plan.fingerprint, 0, _plain(plan.identity)
    for job in jobs:
        if job.kind is JobKind.LINEAR_EVAL:
            job.fingerprint = _job_fingerprint(plan, job.kind)
            if job.state is JobState.RUNNING:
                _end_running(session, job, _MENDED)
            if job.state in (JobState.RUNNING, JobState.DONE):
                requeue(job)
            session.execute(delete(Result).where(Result.job_id == job.id))


def insert_run(
    session: Session, plan: PlannedRun, *, is_repeat: bool, priority: int, max_attempts: int
) -> QueuedRun:
    """Insert an experiment with a pretraining job and the evaluation that depends on it.

    A separate evaluation has only the latter, and depends on nothing; a bench is one job too.

    Raises:
        sqlalchemy.exc.IntegrityError: another process inserted the same repeat, or the same run
            where it is to be the first one, just now.
    """
    now = datetime.now(UTC)
    row = Experiment(
        fingerprint=plan.fingerprint,
        repeat=next_repeat(session, plan.fingerprint) if is_repeat else 0,
        name=plan.name,
        smoke=plan.smoke,
        command=plan.command,
        spec=_plain(plan.spec),
        identity=_plain(plan.identity),
        warnings=list(plan.warnings),
        created_at=now,
    )
    session.add(row)
    session.flush()
    previous: str | None = None
    for position, kind in enumerate(plan.kinds):
        job = Job(
            id=secrets.token_hex(6),
            position=position,
            kind=kind,
            state=JobState.QUEUED,
            fingerprint=_job_fingerprint(plan, kind),
            depends_on=previous,
            attempt=0,
            priority=priority,
            max_attempts=max_attempts,
            device_kind=needed_text(
                plan.identity.get("device_kind"), needed_by(kind, plan.spec, plan.identity)
            ),
            created_at=now,
            queued_at=now,
        )
        row.jobs.append(job)
        session.flush()
        previous = job.id
    return _queued_run(row, existed=False)


def next_repeat(session: Session, fingerprint: str) -> int:
    """Return the number of another run of a fingerprint."""
    newest = session.scalar(
        select(func.max(Experiment.repeat)).where(Experiment.fingerprint == fingerprint)
    )
    return 0 if newest is None else newest + 1


def _queued_run(
    row: Experiment, *, existed: bool, mended: Literal["repeated", "kept"] | None = None
) -> QueuedRun:
    first, last = row.jobs[0], row.jobs[-1]
    pretrain = first.id if first.kind is JobKind.PRETRAIN else None
    return QueuedRun(
        first.id, pretrain, last.id, existed, _state(row), first.kind, row.name, mended
    )


def _state(row: Experiment) -> JobState:
    return run_state(job.state for job in row.jobs)


def _job_fingerprint(plan: PlannedRun, kind: JobKind) -> str:
    """Identify a job: a pretraining does not depend on how it is evaluated afterwards.

    Nor does a separate evaluation depend on where its weights lie.
    """
    if plan.is_evaluation:
        return plan.fingerprint
    return job_fingerprint(_plain(plan.spec), _plain(plan.identity), kind)


def job_fingerprint(spec: Mapping[str, Any], identity: Mapping[str, Any], kind: JobKind) -> str:
    """Identify a job of a run by the spec and the identity of the latter."""
    if kind is JobKind.PRETRAIN:
        spec = spec.get("pretrain", {})
        identity = {name: value for name, value in identity.items() if name != EVALUATION}
    return fingerprint({"kind": kind, "spec": spec, "identity": identity})


def _plain(value: Any) -> Any:
    """Return nested values as JSON holds them, so that what is read equals what was written."""
    return json.loads(json.dumps(value, allow_nan=False, default=dict))


_CANCELLED = "cancelled by the user"
_MENDED = "the evaluation was mended; it is repeated"
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
        _end_running(session, job, _CANCELLED)
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


def _end_running(session: Session, job: Job, reason: str) -> None:
    """Cancel the attempt at a job that somebody works on, if any: whoever does is fenced."""
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.state == JobState.RUNNING)
        .values(state=JobState.CANCELLED, reason=reason, ended_at=datetime.now(UTC))
    )


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
