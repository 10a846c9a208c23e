"""A claim does not take longer because the queue, or the store, is long."""

from __future__ import annotations

import statistics

import pytest
from benchmarks.claim import fill, measure, queues
from sqlalchemy import Engine, event, text, update

from emabench.records import JobState
from emabench.store.schema.tables import Job

JOBS = 2000


def plan_of_a_claim(store) -> str:
    """Return how the database finds the job to claim, in its own words."""
    statements = []

    def keep(connection, cursor, statement, parameters, *rest):
        if statement.startswith("UPDATE jobs"):
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        assert store.queue.claim_next("cpu") is not None
    finally:
        event.remove(Engine, "before_cursor_execute", keep)
    ((statement, parameters),) = statements
    with store._database.read() as session:
        connection = session.connection()
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row[-1]) for row in rows)


def change(store, *statements):
    with store._database.write() as session:
        for statement in statements:
            session.execute(statement)


def check(plan):
    assert "ix_jobs_queue" in plan
    # Neither the queue nor what is done is read as a whole, nor put into order.
    for word in ("TEMP B-TREE", "SCAN", "Sort", "Seq Scan", "Bitmap", "hashed"):
        assert word not in plan, plan
    assert plan.count("ix_jobs_queue") == 1, plan  # all else goes by the id of a job


def test_a_claim_reads_the_index_of_the_queue_and_no_more(store):
    fill(store, JOBS)
    check(plan_of_a_claim(store))


def test_a_claim_does_not_depend_on_what_the_database_learnt_before(store):
    fill(store, JOBS)
    change(store, update(Job).values(state=JobState.DONE), text("ANALYZE"))
    change(store, update(Job).values(state=JobState.QUEUED))
    check(plan_of_a_claim(store))
    change(store, text("ANALYZE"), update(Job).values(state=JobState.DONE))
    change(store, update(Job).where(Job.experiment_id % 2 == 0).values(state=JobState.QUEUED))
    check(plan_of_a_claim(store))


@pytest.mark.slow
def test_a_claim_from_a_thousand_times_as_many_jobs_takes_at_most_twice_as_long(new_url):
    with queues(new_url(), new_url(), 100_000) as (short, long):
        rounds = measure(short, long, rounds=9, claims=50)
    assert statistics.median(b / a for a, b in rounds) <= 2.0
