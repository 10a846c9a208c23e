"""Reading runs, metrics and correctness: a few queries for any number of runs, and no lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from emabench.errors import NotFoundError, UsageError
from emabench.records import JobKind, JobRecord, MetricPoint, RunRecord
from emabench.spec.paths import value_at
from emabench.store.runs.points import metric_point
from emabench.store.runs.studies import check_study
from emabench.store.runs.whole_runs import read_runs
from emabench.store.schema.tables import Experiment, Job, Metric, Result, Series, StudyMember

LAST = "@last"
"""Names the newest run."""

_IDENTITY_OF_FIELD = {
    "pretrain.device": "device_kind",
    "pretrain.precision": "precision",
    "pretrain.threads": "threads",
}
_CANDIDATES_SHOWN = 5
_IS_RUN = Experiment.jobs.any(Job.kind == JobKind.PRETRAIN)
_IS_BENCH = Experiment.jobs.any(Job.kind == JobKind.BENCH)
"""What is neither is an evaluation of its own."""


def find_runs(
    session: Session,
    *,
    smoke: bool,
    where: Mapping[str, Any],
    name: str | None,
    study: str | None = None,
) -> list[RunRecord]:
    """Return the runs that fit, newest last; see ``RunStore.runs``."""
    conditions = [_IS_RUN, *_prefilter(where)]
    if not smoke:
        conditions.append(Experiment.smoke.is_(False))
    if name is not None:
        conditions.append(Experiment.name == name)
    if study is not None:
        check_study(session, study)
        conditions.append(Experiment.studies.any(StudyMember.study == study))
    return read_runs(session, *conditions, fits=lambda head: _fits(head, where))


def find_evaluations(
    session: Session,
    *,
    run_id: str | None = None,
    where: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> list[RunRecord]:
    """Return the evaluations of their own that fit, newest last; see ``RunStore.evaluations``."""
    conditions = [~_IS_RUN, ~_IS_BENCH, *_prefilter(where or {})]
    if name is not None:
        conditions.append(Experiment.name == name)
    return read_runs(
        session,
        *conditions,
        fits=lambda head: run_id in (None, head.spec.get("weights")) and _fits(head, where or {}),
    )


def find_benches(
    session: Session, *, where: Mapping[str, Any] | None = None, name: str | None = None
) -> list[RunRecord]:
    """Return the benches that fit, newest last; see ``RunStore.benches``."""
    conditions = [_IS_BENCH, *_prefilter(where or {})]
    if name is not None:
        conditions.append(Experiment.name == name)
    return read_runs(session, *conditions, fits=lambda head: _fits(head, where or {}))


def find_run(session: Session, text: str) -> RunRecord:
    """Return the run, or evaluation of its own, that an id, a unique prefix or ``@last`` names.

    Raises:
        NotFoundError: no run has it.
        UsageError: several do; the hint lists them.
    """
    (run,) = read_runs(session, Experiment.id == experiment_of(session, text))
    return run


def find_job(session: Session, text: str) -> JobRecord:
    """Return the job that an id, a unique prefix of one, or ``@last`` names."""
    job = _named(session, text, "job")
    (run,) = read_runs(session, Experiment.id == job.experiment_id)
    return next(record for record in run.jobs if record.id == job.id)


def find_metrics(session: Session, run_id: str, name: str | None) -> list[MetricPoint]:
    """Return the metrics of a run's jobs in the order of steps."""
    query = (
        select(Metric.step, Metric.epoch, Series.name, Metric.value)
        .join(Series, Series.id == Metric.series_id)
        .join(Job, Job.id == Series.job_id)
        .where(Job.experiment_id == experiment_of(session, run_id))
        .order_by(Job.position, Metric.step, Series.name)
    )
    if name is not None:
        query = query.where(Series.name == name)
    return [metric_point(*row) for row in session.execute(query)]


def find_correct(session: Session, run_id: str, name: str) -> tuple[bytes, int] | None:
    """Return the packed correctness of each test image and their number, if it is known."""
    query = (
        select(Result.correct, Result.correct_count)
        .join(Job, Job.id == Result.job_id)
        .where(Job.experiment_id == experiment_of(session, run_id), Result.name == name)
    )
    for packed, count in session.execute(query):
        if packed is not None and count is not None:
            return bytes(packed), int(count)
    return None


def _prefilter(where: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Return what the database can tell of the filters without its rows being read: text."""
    return [
        Experiment.spec[tuple(path.split("."))].as_string() == wanted
        for path, wanted in where.items()
        if isinstance(wanted, str) and path not in _IDENTITY_OF_FIELD
    ]


def _fits(head: Row[Any], where: Mapping[str, Any]) -> bool:
    for path, wanted in where.items():
        values = [value_at(head.spec, path)]
        if path in _IDENTITY_OF_FIELD:
            values.append(head.identity.get(_IDENTITY_OF_FIELD[path]))
        if wanted not in values:
            return False
    return True


def experiment_of(session: Session, text: str) -> int:
    """Return the experiment that the id of its first job, a unique prefix or ``@last`` names."""
    return _named(session, text, "run", Job.position == 0).experiment_id


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
        raise NotFoundError("the store holds no runs", hint="emabench run makes one")
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
            f"{text!r} begins several {what} ids", hint=f"choose one of: {shown}{more}"
        )
    return found[0]
