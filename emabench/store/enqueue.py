"""Queueing a planned run: once for each fingerprint, unless a repeat is forced."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from emabench.records import JobKind, JobState, PlannedRun, QueuedRun
from emabench.spec.fingerprint import fingerprint
from emabench.store.locking import lock_jobs
from emabench.store.queueing import requeue
from emabench.store.tables import Experiment, Job
from emabench.store.totals import run_state

_ENDED = (JobState.FAILED, JobState.CANCELLED)


def existing_run(session: Session, plan: PlannedRun) -> QueuedRun | None:
    """Return the run of the same fingerprint, its failed jobs queued again; None if none exists.

    Of several (forced repeats) a finished one is preferred, then the newest.
    """
    query = (
        select(Experiment)
        .where(Experiment.fingerprint == plan.fingerprint)
        .options(selectinload(Experiment.jobs))
        .order_by(Experiment.repeat.desc())
    )
    rows = [row for row in session.scalars(query) if row.jobs]  # none: removed just now
    if not rows:
        return None
    row = next((row for row in rows if _state(row) is JobState.DONE), rows[0])
    if any(job.state in _ENDED for job in row.jobs):
        locked = lock_jobs(session, [job.id for job in row.jobs])
        if not locked:  # somebody removed the run just now
            session.expire_all()
            return existing_run(session, plan)
        for job in locked:
            if job.state in _ENDED:
                requeue(job)
    if plan.is_evaluation and _state(row) is JobState.QUEUED:
        # The same weights may lie elsewhere by now.
        row.spec, row.command = _plain(plan.spec), plan.command
    return _queued_run(row, existed=True)


def insert_run(
    session: Session, plan: PlannedRun, *, is_repeat: bool, priority: int, max_attempts: int
) -> QueuedRun:
    """Insert an experiment with a pretraining job and the evaluation that depends on it.

    An evaluation of its own has only the latter, and depends on nothing; a bench is one job too.

    Raises:
        sqlalchemy.exc.IntegrityError: another process inserted the same repeat, or the same run
            where it is to be the first one, just now.
    """
    now = datetime.now(UTC)
    newest = None
    if is_repeat:
        newest = session.scalar(
            select(func.max(Experiment.repeat)).where(Experiment.fingerprint == plan.fingerprint)
        )
    row = Experiment(
        fingerprint=plan.fingerprint,
        repeat=0 if newest is None else newest + 1,
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
            device_kind=plan.identity.get("device_kind"),
            created_at=now,
            queued_at=now,
        )
        row.jobs.append(job)
        session.flush()
        previous = job.id
    return _queued_run(row, existed=False)


def _queued_run(row: Experiment, *, existed: bool) -> QueuedRun:
    first, last = row.jobs[0], row.jobs[-1]
    pretrain = first.id if first.kind is JobKind.PRETRAIN else None
    return QueuedRun(first.id, pretrain, last.id, existed, _state(row), first.kind)


def _state(row: Experiment) -> JobState:
    return run_state(job.state for job in row.jobs)


def _job_fingerprint(plan: PlannedRun, kind: JobKind) -> str:
    """Identify a job: a pretraining does not depend on how it is evaluated afterwards.

    Nor does an evaluation of its own depend on where its weights lie.
    """
    if plan.is_evaluation:
        return plan.fingerprint
    spec = plan.spec.get("pretrain") if kind is JobKind.PRETRAIN else plan.spec
    return fingerprint({"kind": kind, "spec": _plain(spec), "identity": _plain(plan.identity)})


def _plain(value: Any) -> Any:
    """Return nested values as JSON holds them, so that what is read equals what was written."""
    return json.loads(json.dumps(value, allow_nan=False, default=dict))
