"""Rows become frozen records here: many runs at once, by columns and not by objects of the ORM.

A store of ten thousand runs has a hundred thousand rows of these. As plain tuples they take a
fraction of the time that it takes to make an object of the ORM for each and watch it for changes.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from emabench.records import AttemptRecord, CostReading, JobKind, JobRecord, RunRecord
from emabench.spec.experiment import unreadable
from emabench.store.connection.database import batches
from emabench.store.runs.environments import KnownEnvironments
from emabench.store.runs.run_summary import run_cost, run_environment, run_state
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    Experiment,
    Job,
    Result,
    RunTag,
    StudyMember,
    split_needs,
)

_HEAD = [
    Experiment.id,
    Experiment.name,
    Experiment.smoke,
    Experiment.command,
    Experiment.spec,
    Experiment.identity,
    Experiment.fingerprint,
    Experiment.created_at,
    Experiment.warnings,
    Experiment.note,
]
_JOB = [
    "id",
    "kind",
    "state",
    "fingerprint",
    "depends_on",
    "attempt",
    "reason",
    "created_at",
    "priority",
    "failures",
    "max_attempts",
    "device_kind",
]
_ATTEMPT = ["number", "state", "started_at", "ended_at", "reason"]
_COST = [each.name for each in fields(CostReading)]


def read_runs(
    session: Session,
    *conditions: ColumnElement[bool],
    fits: Callable[[Row[Any]], bool] = lambda head: True,
) -> list[RunRecord]:
    """Return whole runs, and separate evaluations, newest last.

    Args:
        session: in a transaction, so that all of it is of one moment.
        conditions: on experiments, for the database.
        fits: looks at ``spec`` and ``identity`` of those that the database chose.
    """
    # Not by time: a clock may jump back.
    query = select(*_HEAD).where(*conditions).order_by(Experiment.id)
    with without_collection():
        heads = [head for head in session.connection().execute(query) if fits(head)]
        environments = KnownEnvironments(session)
        runs: list[RunRecord] = []
        for some in batches(heads):
            runs += _read(session, some, environments)
        return runs


def read_jobs(session: Session, query: Any) -> list[JobRecord]:
    """Return the jobs that a query finds, in its order.

    Args:
        session: in a transaction.
        query: gives the id of each, and of its experiment.
    """
    chosen = {row[0]: row[1] for row in session.execute(query)}
    known: dict[str, JobRecord] = {}
    for some in batches(dict.fromkeys(chosen.values())):
        for run in read_runs(session, Experiment.id.in_(some)):
            known |= {job.id: job for job in run.jobs}
    return [known[job_id] for job_id in chosen if job_id in known]


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage inside the block.

    It makes a million objects and no cycle; looking through them again and again takes nearly as
    long as making them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(
    session: Session, heads: Sequence[Row[Any]], environments: KnownEnvironments
) -> Iterator[RunRecord]:
    ids = [head.id for head in heads]
    jobs = _by_first(_of_jobs(session, ids, select(Job.experiment_id, *_columns(Job, _JOB))))
    attempts = _by_first(
        _of_jobs(
            session,
            ids,
            select(
                Attempt.job_id,
                Attempt.environment_id,
                Cost.attempt_id,
                *_columns(Attempt, _ATTEMPT),
                *_columns(Cost, _COST),
            )
            .select_from(Attempt)
            .join(Job)
            .outerjoin(Cost)
            .order_by(Attempt.number),
        )
    )
    results = _by_first(
        _of_jobs(
            session,
            ids,
            select(Job.experiment_id, Result.name, Result.value)
            .join_from(Result, Job)
            .where(Result.value.is_not(None))
            .order_by(Job.position, Result.name),
        )
    )
    studies = _by_first(
        session.execute(
            select(StudyMember.experiment_id, StudyMember.study)
            .where(StudyMember.experiment_id.in_(ids))
            .order_by(StudyMember.study)
        )
    )
    tags = _by_first(
        session.execute(
            select(RunTag.experiment_id, RunTag.tag)
            .where(RunTag.experiment_id.in_(ids))
            .order_by(RunTag.tag)
        )
    )
    for head in heads:
        if head.id in jobs:  # else somebody is removing it
            first: JobKind = jobs[head.id][0][_JOB.index("kind")]
            why = why_unreadable(head.spec, head.identity, first)
            damage = () if why is None else (why,)
            spec = {} if damage else head.spec
            made = tuple(
                _job(values, spec, jobs[head.id][0][0], attempts, environments)
                for values in jobs[head.id]
            )
            yield RunRecord(
                id=made[0].id,
                name=head.name,
                smoke=head.smoke,
                command=head.command,
                state=run_state(job.state for job in made),
                spec=spec,
                identity=head.identity if isinstance(head.identity, dict) else {},
                fingerprint=head.fingerprint,
                created_at=head.created_at,
                results=dict(results.get(head.id, ())),
                cost=run_cost(made),
                environment=run_environment(made),
                jobs=made,
                warnings=(*head.warnings, *(f"its spec is damaged: {each}" for each in damage)),
                studies=tuple(study for (study,) in studies.get(head.id, ())),
                unreadable=why,
                tags=tuple(tag for (tag,) in tags.get(head.id, ())),
                note=head.note,
            )


def why_unreadable(spec: Any, identity: Any, kind: JobKind) -> str | None:
    """Return why a run cannot be read, if so: no row may be fatal for the others."""
    if not isinstance(identity, dict):
        return "its identity is not a dict"
    why = unreadable(spec)
    if why is None and kind is JobKind.BENCH and not spec.get("bench"):
        return "it is a bench, but does not say of what"
    return why


def _job(
    values: tuple[Any, ...],
    spec: Any,
    run_id: str,
    attempts: dict[Any, list[tuple[Any, ...]]],
    environments: KnownEnvironments,
) -> JobRecord:
    made = []
    for environment, costed, *rest in attempts.get(values[0], ()):
        number, state, started_at, ended_at, reason, *readings = rest
        cost = None if costed is None else CostReading(*readings)
        machine = environments.get(environment)
        made.append(AttemptRecord(number, state, started_at, ended_at, reason, machine, cost))
    known = dict(zip(_JOB, values, strict=True))
    known["device_kind"], plugins = split_needs(known["device_kind"])
    return JobRecord(**known, plugins=plugins, spec=spec, run_id=run_id, attempts=tuple(made))


def _columns(table: Any, names: Sequence[str]) -> list[Any]:
    return [getattr(table, name) for name in names]


def _of_jobs(session: Session, ids: Sequence[int], query: Any) -> Iterable[Row[Any]]:
    chosen = query.where(Job.experiment_id.in_(ids)).order_by(Job.position)
    # Of plain columns the session adds nothing but time to what the connection returns.
    return session.connection().execute(chosen)


def _by_first(rows: Iterable[Row[Any]]) -> dict[Any, list[tuple[Any, ...]]]:
    """Group rows by their first column, which is left out of them."""
    groups: dict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        groups[row[0]].append(tuple(row[1:]))
    return dict(groups)
