"""Locks on jobs: in one order, so that no two transactions ever wait for each other.

A database server locks rows. A transaction that changes several jobs locks them with
``lock_jobs`` before it changes anything, needed jobs before those that need them; what belongs to
a job (its attempts, series with their metrics, results) is only changed by who holds the job,
heartbeats apart.
For SQLite, which has one writer at a time, nothing here waits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from emabench.store.connection.database import batches
from emabench.store.schema.tables import Job

NO_KEY: dict[str, Any] = {"key_share": True}
"""Arguments of ``with_for_update``: whoever only names the row as the one it needs goes on.

A server looks at the needed job, with a lock of its own, when another job is changed twice.
"""


def lock_jobs(session: Session, job_ids: Collection[str]) -> list[Job]:
    """Return those of the jobs that exist, as they are now and stay until the commit.

    The order is: oldest run, order within the run.
    """
    places: list[tuple[int, int, str]] = []
    for some in batches(job_ids):
        query = select(Job.experiment_id, Job.position, Job.id).where(Job.id.in_(some))
        places += [(row[0], row[1], row[2]) for row in session.execute(query)]
    locked: list[Job] = []
    for some in batches(job_id for _, _, job_id in sorted(places)):
        chosen = select(Job).where(Job.id.in_(some)).order_by(Job.experiment_id, Job.position)
        now = chosen.with_for_update(**NO_KEY).execution_options(populate_existing=True)
        locked += session.scalars(now)
    return locked


def with_dependants(session: Session, job_ids: Collection[str]) -> set[str]:
    """Return the ids of jobs and of all that need them, directly or not."""
    found, new = set(job_ids), set(job_ids)
    while new:
        needing = [select(Job.id).where(Job.depends_on.in_(some)) for some in batches(new)]
        new = {job_id for query in needing for job_id in session.scalars(query)} - found
        found |= new
    return found


def with_needed(session: Session, job_ids: Collection[str]) -> set[str]:
    """Return the ids of jobs and of all that they need, directly or not."""
    found, new = set(job_ids), set(job_ids)
    while new:
        needed = [select(Job.depends_on).where(Job.id.in_(some)) for some in batches(new)]
        new = {job_id for query in needed for job_id in session.scalars(query) if job_id} - found
        found |= new
    return found
