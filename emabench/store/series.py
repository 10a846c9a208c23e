"""The metrics of many runs at once, a few names of them: what a page of curves needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from emabench.records import MetricPoint
from emabench.store.tables import Job, Metric

_AT_ONCE = 500
"""Ids in one query: databases bound how many values it may have."""


def find_points(
    session: Session, run_ids: Iterable[str], names: Sequence[str]
) -> dict[str, list[MetricPoint]]:
    """Return the metrics of some names by run, in the order of steps; see ``RunStore.points``."""
    first = aliased(Job)
    wanted = or_(
        Metric.name.in_([name for name in names if not name.endswith(":")]),
        *(Metric.name.startswith(n, autoescape=True) for n in names if n.endswith(":")),
    )
    ids = list(run_ids)
    found: dict[str, list[MetricPoint]] = {run: [] for run in ids}
    for start in range(0, len(ids), _AT_ONCE):
        query = (
            select(first.id, Metric.step, Metric.epoch, Metric.name, Metric.value)
            .join(Job, Job.experiment_id == first.experiment_id)
            .join(Metric, Metric.job_id == Job.id)
            .where(first.id.in_(ids[start : start + _AT_ONCE]), wanted)
            .order_by(first.id, Job.position, Metric.step, Metric.name)
        )
        for run, step, epoch, name, value in session.execute(query):
            known = math.nan if value is None else value
            found[run].append(MetricPoint(step, epoch, name, known))
    return found
