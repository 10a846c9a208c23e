"""The name of a metric is stored once per job, however long the run, on every database."""

from __future__ import annotations

import contextlib

import pytest
from seeding import ENVIRONMENT, complete, plan
from sqlalchemy import event, func, select

from emabench.errors import FencedError
from emabench.records import MetricPoint, WantedValues
from emabench.store.schema.tables import Metric, Series
from emabench.store.transfer.soundness import check

NAMES = [f"grad_norm:layer{number}" for number in range(700)]
"""More than one statement may have values on every database."""


def claimed(store, **fields):
    return store.queue.claim(store.add_run(plan(**fields)).pretrain_job, environment=ENVIRONMENT)


def points(step, names=NAMES, value=1.0):
    return [MetricPoint(step, 1, name, value + place) for place, name in enumerate(names)]


def counts(store):
    with store._database.read() as session:
        return tuple(
            session.scalar(select(func.count()).select_from(table)) for table in (Series, Metric)
        )


@contextlib.contextmanager
def statements(store):
    """Collect the statements that reach the database, many rows at once as one."""
    seen = []

    def note(connection, cursor, statement, *rest):
        verb = statement.split()[0]
        if verb not in ("BEGIN", "SET"):
            seen.append(verb)

    event.listen(store._database._engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(store._database._engine, "before_cursor_execute", note)


def test_a_name_is_stored_once_per_job(store):
    first, second = claimed(store, seed=0), claimed(store, seed=1)
    for step in range(3):
        store.queue.record(first, points(step, NAMES[:5]))
    store.queue.record(second, points(0, NAMES[:5], value=50.0))
    assert counts(store) == (10, 20)
    assert store.metrics(first.job_id) == [
        each for step in range(3) for each in points(step, NAMES[:5])
    ]
    assert store.metrics(second.job_id) == points(0, NAMES[:5], value=50.0)
    assert store.values(
        [first.job_id, second.job_id], WantedValues(means=(NAMES[1],))
    ).series[NAMES[1]] == {
        first.job_id: 2.0, second.job_id: 51.0,
    }  # fmt: skip


def test_a_flush_takes_a_few_statements_however_many_names_there_are(store):
    claim = claimed(store)
    with statements(store) as few:
        store.queue.record(claim, points(1, NAMES[:2]))
        store.queue.record(claim, points(2, NAMES[:2]))
    other = claimed(store, seed=1)
    with statements(store) as many:
        store.queue.record(other, points(1))
        store.queue.record(other, points(2))
    first, later = ["UPDATE", "SELECT", "INSERT"], ["UPDATE", "SELECT"]
    assert many == few == [*first, "DELETE", "INSERT", *later, "DELETE", "INSERT"]
    assert counts(store) == (702, 1404)


def test_a_later_attempt_overwrites_the_points_and_adds_the_names_it_has_more(store):
    claim = claimed(store)
    store.queue.record(claim, points(1, NAMES[:2]) + points(2, NAMES[:2]))
    store.queue.release(claim, reason="interrupted", cost=None)
    again = store.queue.claim(claim.job_id, environment=ENVIRONMENT)
    store.queue.record(again, points(2, NAMES[:3], value=7.0))
    assert counts(store) == (3, 5)
    assert store.metrics(claim.job_id) == points(1, NAMES[:2]) + points(2, NAMES[:3], value=7.0)
    with pytest.raises(FencedError):
        store.queue.record(claim, points(3, ["of a dead attempt"]))
    assert counts(store) == (3, 5)


def test_a_run_that_is_removed_takes_its_metrics_along_and_no_others(store, url):
    claim = claimed(store, seed=0)
    store.queue.record(claim, points(1, NAMES[:2]))
    gone = complete(store, plan(seed=1))
    assert counts(store) == (3, 6)
    store.remove([gone])
    assert counts(store) == (2, 2)
    assert len(store.metrics(claim.job_id)) == 2
    assert check(url) == []


def test_metrics_of_a_job_that_was_never_tried_are_named(store, url):
    job = store.add_run(plan()).pretrain_job
    with store._database.write() as session:
        session.add(Series(job_id=job, name="loss"))
    assert check(url) == [f"job {job} was never tried and has metrics"]
