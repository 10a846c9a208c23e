"""Taking a job out of the queue: one guarded statement, so that exactly one worker gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from emabench.records import Claim, Environment, JobState
from emabench.spec.pretrain import GIVEN
from emabench.spec.revisions import PRETRAINING, names_in
from emabench.spec.version import SPEC_VERSION
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.runs.environments import environment_id, environment_row
from emabench.store.schema.tables import Attempt, Experiment, Job, split_needs


def claim_job(
    session: Session, job_id: str, *, environment: Environment | None, device: str | None
) -> Claim | None:
    """Take one job if it is queued and what it depends on is done; else return None."""
    return _take(session, Job.id == job_id, environment, device)


HasPlugins = Callable[[Sequence[str]], bool]
"""Says whether a worker has the plugins of some references."""


def claim_next(session: Session, offers: Sequence[str], *, device: str | None) -> Claim | None:
    """Take the first job of the queue that needs one of some offers; None if there is none to take.

    The order is: highest priority, oldest run, order within the run. Jobs of a newer spec version
    are left to newer workers.

    Args:
        session: a writing session.
        offers: a kind of device, and what else ``offers_with_plugins`` returned.
        device: name of the device.
    """
    for needs in _in_order(session, offers):
        # Of a server; SQLite has one writer at a time.
        first = _first(needs).with_for_update(skip_locked=True)
        claim = _take(session, Job.id == first.scalar_subquery(), None, device)
        if claim is not None:
            return claim
    return None


def _first(needs: str, *columns: Any) -> Select[Any]:
    """Return the query for the first job of the queue that needs just this."""
    candidate = aliased(Job)
    return (
        select(*(getattr(candidate, name) for name in columns or ("id",)))
        .where(
            candidate.state == JobState.QUEUED,
            candidate.device_kind == needs,
            candidate.spec_version <= SPEC_VERSION,
            _is_free(candidate),
        )
        .order_by(candidate.priority.desc(), candidate.experiment_id, candidate.position)
        .limit(1)
    )


def offers_with_plugins(session: Session, device_kind: str, has: HasPlugins) -> list[str]:
    """Return what those jobs of the queue need that use plugins, all of which the worker has."""
    found = []
    for needs in _queued_needs(session):
        kind, plugins = split_needs(needs)
        if kind == device_kind and plugins and has(plugins):
            found.append(needs)
    return found


def _queued_needs(session: Session) -> Iterator[str]:
    """Yield what the jobs of the queue need, each once: a look into the index for each."""
    last = ""
    while True:
        after = select(func.min(Job.device_kind)).where(
            Job.state == JobState.QUEUED, Job.device_kind > last
        )
        found = session.scalar(after)
        if found is None:
            return
        yield found
        last = found


def _in_order(session: Session, needs: Sequence[str]) -> list[str]:
    """Return needs such that the one whose first job comes first in the queue stands first."""
    if len(needs) == 1:
        return list(needs)
    order = ("priority", "experiment_id", "position")
    heads = [(session.execute(_first(each, *order)).first(), each) for each in needs]
    return [
        each
        for _, each in sorted(
            ((-head.priority, head.experiment_id, head.position), each)
            for head, each in heads
            if head is not None
        )
    ]


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
        .returning(
            Job.id,
            Job.attempt,
            Job.kind,
            Job.depends_on,
            Job.experiment_id,
            Job.queued_at,
            Job.device_kind,
        )
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
        given={name: experiment.identity[name] for name in GIVEN if name in experiment.identity},
        images=_images(experiment.identity),
        plugins=split_needs(taken.device_kind)[1],
        revisions=names_in(experiment.identity, PRETRAINING),
    )


def _images(identity: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of images as a claim has them."""
    data = identity.get("data")
    known = {"data": data, "": identity.get("evaluation_data", data), **identity.get("also", {})}
    return {title: digest for title, digest in known.items() if digest is not None}


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
