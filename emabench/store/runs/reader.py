"""Finding runs and jobs, by what is asked for or by name: a few queries for any number of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from emabench.errors import NotFoundError, UsageError
from emabench.records import JobKind, JobRecord, RunQuery, RunRecord
from emabench.spec.paths import as_resolved
from emabench.store.connection.database import batches
from emabench.store.runs.condition import holds
from emabench.store.runs.run_field import OF_IDENTITY
from emabench.store.runs.studies import check_study
from emabench.store.runs.whole_runs import read_jobs, read_runs
from emabench.store.schema.tables import Experiment, Job, StudyMember

LAST = "@last"
"""Names the newest run."""

_CANDIDATES_SHOWN = 5
_IS_RUN = Experiment.jobs.any(Job.kind == JobKind.PRETRAIN)
_IS_BENCH = Experiment.jobs.any(Job.kind == JobKind.BENCH)
_IS_OF_KIND = {
    JobKind.PRETRAIN: [_IS_RUN],
    JobKind.LINEAR_EVAL: [~_IS_RUN, ~_IS_BENCH],
    JobKind.BENCH: [_IS_BENCH],
}
"""By the kind of the first job."""


def find_runs(
    session: Session, query: RunQuery, *, kind: JobKind = JobKind.PRETRAIN
) -> list[RunRecord]:
    """Return what is asked for, newest last; what ids name, of any kind, in their order.

    Args:
        session: a reading session.
        query: what is asked for; ``smoke`` is about runs, not about evaluations and benches.
        kind: of the first job.

    Raises:
        NotFoundError: no run has an id, or belongs to the study.
        UsageError: several ids begin so.
    """
    if query.ids:
        return _named_runs(session, query.ids)
    where = as_resolved(query.where)
    conditions = [*_IS_OF_KIND[kind], *_prefilter(where)]
    if kind is JobKind.PRETRAIN and not query.smoke:
        conditions.append(Experiment.smoke.is_(False))
    if query.name is not None:
        conditions.append(Experiment.name == query.name)
    if query.study is not None:
        check_study(session, query.study)
        conditions.append(Experiment.studies.any(StudyMember.study == query.study))
    runs = read_runs(session, *conditions, fits=lambda head: holds(head, where))
    return [run for run in runs if all(meets(run) for meets in query.tests)]


def _named_runs(session: Session, texts: Sequence[str]) -> list[RunRecord]:
    first = [named_run(session, text) for text in texts]
    ids = dict.fromkeys(job.id for job in first)
    known: dict[str, RunRecord] = {}
    for some in batches(job.experiment_id for job in first):
        known |= {run.id: run for run in read_runs(session, Experiment.id.in_(some))}
    return [known[id] for id in ids]


def find_job(session: Session, text: str) -> JobRecord:
    """Return the job that an id, a unique prefix of one, or ``@last`` names."""
    named = _named(session, text, "job")
    (job,) = read_jobs(session, select(Job.id, Job.experiment_id).where(Job.id == named.id))
    return job


def _prefilter(where: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Return what the database can tell of the filters without its rows being read: text."""
    return [
        Experiment.spec[tuple(path.split("."))].as_string() == wanted
        for path, wanted in where.items()
        if isinstance(wanted, str) and path not in OF_IDENTITY
    ]


def named_run(session: Session, text: str) -> Job:
    """Return the first job of the run, evaluation of its own or bench that a text names.

    Args:
        session: a session.
        text: its id, a unique beginning of it, or ``@last``.

    Raises:
        NotFoundError: no run has it.
        UsageError: several do; the hint lists them.
    """
    return _named(session, text, "run", Job.position == 0)


def _named(session: Session, text: str, what: str, *conditions: ColumnElement[bool]) -> Job:
    """Return the job, of those that meet conditions, that an id, a prefix or ``@last`` names."""
    if text == LAST:
        return _newest(session)
    exact = session.scalar(select(Job).where(Job.id == text, *conditions))
    return _with_prefix(session, text, what, conditions) if exact is None else exact


def _newest(session: Session) -> Job:
    query = select(Job).where(Job.kind == JobKind.PRETRAIN).order_by(Job.experiment_id.desc())
    found = session.scalars(query.limit(1)).first()
    if found is None:
        raise NotFoundError("the store has no runs", hint="emabench run makes one")
    return found


def _with_prefix(
    session: Session, text: str, what: str, conditions: Sequence[ColumnElement[bool]]
) -> Job:
    query = (
        select(Job)
        .where(*conditions, Job.id.startswith(text.lower(), autoescape=True))
        .order_by(Job.experiment_id.desc(), Job.position)
        .limit(_CANDIDATES_SHOWN + 1)
    )
    found = list(session.scalars(query)) if text else []
    if not found:
        raise NotFoundError(
            f"there is no {what} {text!r}",
            hint="emabench list shows the runs; @last is the newest",
        )
    if len(found) > 1:
        shown = ", ".join(job.id for job in found[:_CANDIDATES_SHOWN])
        more = " …" if len(found) > _CANDIDATES_SHOWN else ""
        raise UsageError(
            f"several {what} ids begin with {text!r}", hint=f"choose one of: {shown}{more}"
        )
    return found[0]
