"""The queue as an observer sees it: counts, who works on what, what comes next, what failed."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session, selectinload

from emabench.records import JobKind, JobRecord, JobState, QueueRecord, RunningAttempt
from emabench.spec.version import SPEC_VERSION
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.runs.row_records import job_record
from emabench.store.schema.tables import Attempt, Experiment, Job

NEWER_EMABENCH = "a newer emabench"
_IDS_AT_ONCE = 500
"""Databases bound the number of values in one statement."""


def find_queue(session: Session, *, limit: int) -> QueueRecord:
    """Return the queue at this moment.

    Args:
        session: a reading session.
        limit: at most so many queued, and so many failed jobs.
    """
    grouped = select(Job.state, func.count()).group_by(Job.state)
    counted = {row[0]: row[1] for row in session.execute(grouped)}
    queued = (
        select(Job)
        .where(Job.state == JobState.QUEUED)
        .order_by(Job.priority.desc(), Job.experiment_id, Job.position)
    )
    failed = (
        select(Job)
        .where(Job.state == JobState.FAILED, Job.failures > 0)
        .order_by(Job.experiment_id.desc(), Job.position)
    )
    return QueueRecord(
        counts={state: counted.get(state, 0) for state in JobState},
        running=tuple(find_running(session)),
        queued=tuple(_records(session, queued.limit(limit))),
        failed=tuple(_records(session, failed.limit(limit))),
    )


def count_queued(session: Session) -> dict[str, int]:
    """Return the number of queued jobs by what they need.

    That is a kind of device, or a newer emabench, which knows the version of their specs.
    """
    needs = case((Job.spec_version > SPEC_VERSION, NEWER_EMABENCH), else_=Job.device_kind)
    grouped = select(needs, func.count()).where(Job.state == JobState.QUEUED).group_by(needs)
    return {row[0] or "another device": row[1] for row in session.execute(grouped)}


def find_states(session: Session, job_ids: Sequence[str]) -> dict[str, JobState]:
    """Return the states of jobs by their ids."""
    states: dict[str, JobState] = {}
    for start in range(0, len(job_ids), _IDS_AT_ONCE):
        some = job_ids[start : start + _IDS_AT_ONCE]
        for row in session.execute(select(Job.id, Job.state).where(Job.id.in_(some))):
            states[row.id] = row.state
    return states


def find_running(session: Session) -> list[RunningAttempt]:
    """Return the attempts that somebody works on, in the order in which they started."""
    query = (
        select(Attempt, Job, Experiment)
        .join(Job, Job.id == Attempt.job_id)
        .join(Experiment, Experiment.id == Job.experiment_id)
        .where(Attempt.state == JobState.RUNNING)
        .order_by(Attempt.id)
    )
    here = socket.gethostname()
    found = []
    for attempt, job, experiment in session.execute(query):
        process = ProcessIdentity(attempt.host, attempt.pid, attempt.process_started)
        found.append(
            RunningAttempt(
                job_id=job.id,
                run_id=_run_id(session, job),
                kind=job.kind,
                number=attempt.number,
                host=attempt.host,
                pid=attempt.pid,
                device=attempt.device,
                started_at=attempt.started_at,
                heartbeat=attempt.heartbeat,
                process_gone=attempt.host == here and process.is_gone(),
                spec=experiment.spec,
                step=attempt.step,
                total_steps=attempt.total_steps,
                loss=attempt.loss,
                images_per_second=attempt.images_per_second,
            )
        )
    return found


def _records(session: Session, query: Select[Any]) -> list[JobRecord]:
    loaded = query.options(
        selectinload(Job.experiment).selectinload(Experiment.jobs),
        selectinload(Job.attempts).options(
            selectinload(Attempt.cost), selectinload(Attempt.environment)
        ),
    )
    return [job_record(job, job.experiment) for job in session.scalars(loaded)]


def _run_id(session: Session, job: Job) -> str:
    if job.kind is JobKind.PRETRAIN:
        return job.id
    query = select(Job.id).where(Job.experiment_id == job.experiment_id).order_by(Job.position)
    return session.scalars(query.limit(1)).one()
