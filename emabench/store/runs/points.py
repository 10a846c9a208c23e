"""The points of metrics: into a job, and out of many runs at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from emabench.records import MetricPoint
from emabench.store.connection.database import batches
from emabench.store.schema.tables import Job, Metric, Series


def write_points(session: Session, job_id: str, points: Sequence[Mapping[str, Any]]) -> None:
    """Write points of a job, over those of the same step and name.

    Args:
        session: a writing session that holds the job; see ``locking.py``.
        job_id: the job.
        points: ``step``, ``name``, ``epoch`` and ``value`` of each, NaN as None; no two may have
            one step and name.
    """
    if not points:
        return
    series = _series_of(session, job_id, {point["name"] for point in points})
    table = Metric.__table__
    session.connection().execute(
        delete(Metric).where(table.c.series_id == bindparam("of"), table.c.step == bindparam("at")),
        [{"of": series[point["name"]], "at": point["step"]} for point in points],
    )
    rows = [
        {
            "series_id": series[point["name"]],
            "step": point["step"],
            "epoch": point["epoch"],
            "value": point["value"],
        }
        for point in points
    ]
    session.connection().execute(insert(Metric), rows)


def find_points(
    session: Session, run_ids: Iterable[str], names: Sequence[str] | None
) -> dict[str, list[MetricPoint]]:
    """Return metrics by run, in the order of steps.

    Args:
        session: a reading session.
        run_ids: complete ids of runs.
        names: of metrics; one that ends in ``:`` stands for all that begin so, None for all.
    """
    ids = list(run_ids)
    found: dict[str, list[MetricPoint]] = {run: [] for run in ids}
    if names is not None and not names:
        return found
    first = aliased(Job)
    points = (
        select(first.id, Metric.step, Metric.epoch, Series.name, Metric.value)
        .join(Job, Job.experiment_id == first.experiment_id)
        .join(Series, Series.job_id == Job.id)
        .join(Metric, Metric.series_id == Series.id)
        .order_by(first.id, Job.position, Metric.step, Series.name)
    )
    if names is not None:
        points = points.where(
            or_(
                Series.name.in_([name for name in names if not name.endswith(":")]),
                *(Series.name.startswith(n, autoescape=True) for n in names if n.endswith(":")),
            )
        )
    for some in batches(ids):
        for run, step, epoch, name, value in session.execute(points.where(first.id.in_(some))):
            known = math.nan if value is None else value
            found[run].append(MetricPoint(step, epoch, name, known))
    return found


def find_means(session: Session, run_ids: Iterable[str], name: str) -> dict[str, float]:
    """Return the mean over training of the metric of one name, by run; unknown values left out."""
    first = aliased(Job)
    means = (
        select(first.id, func.avg(Metric.value))
        .join(Job, Job.experiment_id == first.experiment_id)
        .join(Series, Series.job_id == Job.id)
        .join(Metric, Metric.series_id == Series.id)
        .where(Series.name == name)
        .group_by(first.id)
    )
    found: dict[str, float] = {}
    for some in batches(run_ids):
        rows = session.execute(means.where(first.id.in_(some)))
        found |= {run: float(mean) for run, mean in rows if mean is not None}
    return found


def _series_of(session: Session, job_id: str, names: set[str]) -> dict[str, int]:
    """Return the ids of the series of a job by their names; inserts those that are missing."""
    known = select(Series.name, Series.id).where(Series.job_id == job_id)
    found = {row.name: row.id for row in session.execute(known)}
    missing = sorted(names - set(found))
    if missing:
        rows = [{"job_id": job_id, "name": name} for name in missing]
        new = session.execute(insert(Series).returning(Series.name, Series.id), rows)
        found |= {row.name: row.id for row in new}
    return found
