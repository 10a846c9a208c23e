"""The points of metrics: into a job, and out of many runs at once, which a page of curves needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select
from sqlalchemy.orm import Session, aliased

from emabench.records import MetricPoint
from emabench.store.schema.tables import Job, Metric, Series

_AT_ONCE = 500
"""Ids in one query: databases bound how many values it may have."""


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
    session: Session, run_ids: Iterable[str], names: Sequence[str]
) -> dict[str, list[MetricPoint]]:
    """Return the metrics of some names by run, in the order of steps; see ``RunStore.points``."""
    first = aliased(Job)
    wanted = or_(
        Series.name.in_([name for name in names if not name.endswith(":")]),
        *(Series.name.startswith(n, autoescape=True) for n in names if n.endswith(":")),
    )
    ids = list(run_ids)
    found: dict[str, list[MetricPoint]] = {run: [] for run in ids}
    for start in range(0, len(ids), _AT_ONCE):
        query = (
            select(first.id, Metric.step, Metric.epoch, Series.name, Metric.value)
            .join(Job, Job.experiment_id == first.experiment_id)
            .join(Series, Series.job_id == Job.id)
            .join(Metric, Metric.series_id == Series.id)
            .where(first.id.in_(ids[start : start + _AT_ONCE]), wanted)
            .order_by(first.id, Job.position, Metric.step, Series.name)
        )
        for run, step, epoch, name, value in session.execute(query):
            found[run].append(metric_point(step, epoch, name, value))
    return found


def metric_point(step: int, epoch: int, name: str, value: float | None) -> MetricPoint:
    """Return one value of a metric; what is NULL in the database is NaN."""
    return MetricPoint(step, epoch, name, math.nan if value is None else value)


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
