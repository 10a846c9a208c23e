"""The queue as an observer sees it: counts, who works on what, what comes next, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, aliased

from emabench.records import JobState, QueueRecord, RunningAttempt
from emabench.spec.version import SPEC_VERSION
from emabench.store.connection.database import batches
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.runs.whole_runs import read_jobs
from emabench.store.schema.tables import Attempt, Experiment, Job, host_name, split_needs

NEWER_EMABENCH = "a newer emabench"


def find_queue(session: Session, *, limit: int) -> QueueRecord:
    """Return the queue at this moment.

    Args:
        session: a reading session.
        limit: at most this many queued, and this many failed jobs.
    """
    grouped = select(Job.state, func.count()).group_by(Job.state)
    counted = {row[0]: row[1] for row in session.execute(grouped)}
    named = select(Job.id, Job.experiment_id)
    queued = named.where(Job.state == JobState.QUEUED).order_by(
        Job.priority.desc(), Job.experiment_id, Job.position
    )
    failed = named.where(Job.state == JobState.FAILED, Job.failures > 0).order_by(
        Job.experiment_id.desc(), Job.position
    )
    waiting: Counter[str] = Counter()
    for (_, plugins), count in count_queued(session).items():
        waiting.update(dict.fromkeys(plugins, count))
    return QueueRecord(
        counts={state: counted.get(state, 0) for state in JobState},
        running=tuple(find_running(session)),
        queued=tuple(read_jobs(session, queued.limit(limit))),
        failed=tuple(read_jobs(session, failed.limit(limit))),
        plugins=dict(sorted(waiting.items())),
    )


def count_queued(session: Session) -> dict[tuple[str, tuple[str, ...]], int]:
    """Return the number of queued jobs by what they need, and the plugins that they need.

    The former is a kind of device, or a newer emabench, which knows the version of their specs.
    """
    needs = case((Job.spec_version > SPEC_VERSION, NEWER_EMABENCH), else_=Job.device_kind)
    grouped = select(needs, func.count()).where(Job.state == JobState.QUEUED).group_by(needs)
    found = {}
    for text, count in session.execute(grouped):
        kind, plugins = (text, ()) if text == NEWER_EMABENCH else split_needs(text)
        found[kind or "another device", plugins] = count
    return found


def find_states(session: Session, job_ids: Sequence[str]) -> dict[str, JobState]:
    """Return the states of jobs by their ids."""
    states: dict[str, JobState] = {}
    for some in batches(job_ids):
        for row in session.execute(select(Job.id, Job.state).where(Job.id.in_(some))):
            states[row.id] = row.state
    return states


def find_running(session: Session) -> list[RunningAttempt]:
    """Return the attempts that somebody works on, in the order in which they started."""
    first = aliased(Job)
    query = (
        select(Attempt, Job.kind, Experiment.spec, first.id)
        .join(Job, Job.id == Attempt.job_id)
        .join(Experiment, Experiment.id == Job.experiment_id)
        .join(first, (first.experiment_id == Job.experiment_id) & (first.position == 0))
        .where(Attempt.state == JobState.RUNNING)
        .order_by(Attempt.id)
    )
    found = []
    for attempt, kind, spec, run_id in session.execute(query):
        process = ProcessIdentity(attempt.host, attempt.pid, attempt.process_started)
        found.append(
            RunningAttempt(
                job_id=attempt.job_id,
                run_id=run_id,
                kind=kind,
                number=attempt.number,
                host=host_name(attempt.host),
                pid=attempt.pid,
                device=attempt.device,
                started_at=attempt.started_at,
                heartbeat=attempt.heartbeat,
                process_gone=process.is_gone(),
                spec=spec,
                step=attempt.step,
                total_steps=attempt.total_steps,
                loss=attempt.loss,
                images_per_second=attempt.images_per_second,
            )
        )
    return found
