"""Runs move between stores of every kind, and older stores of every kind are upgraded."""

from __future__ import annotations

import math
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from seeding import complete, plan
from sqlalchemy import MetaData, Table, create_engine, make_url, select, text

from emabench.errors import NotFoundError, SchemaVersionError, StoreError
from emabench.records import CostReading, JobState, MetricPoint, RunQuery
from emabench.store import RunStore
from emabench.store.connection.opening import open_for_writing
from emabench.store.schema import tables
from emabench.store.schema import version as schema
from emabench.store.transfer.moving import export_runs, import_runs
from emabench.store.transfer.soundness import check
from emabench.store.transfer.upgrade import upgrade

FROZEN = Path(__file__).parents[1] / "assets" / "stores"
TABLES = ("experiments", "jobs", "environments", "attempts", "metrics", "results", "costs")
NUMBERED = ("experiments", "environments", "attempts")


def fill(url):
    """Make a run that is done, a repeat of it, one that failed and one that was cancelled."""
    with RunStore.open(url, mode="write") as store:
        complete(store, plan(name="\N{SNOWMAN} 名前 \\ ' %", smoke=True))
        complete(store, plan(name="\N{SNOWMAN} 名前 \\ ' %", smoke=True), force=True)
        claim = store.queue.claim(store.add_run(plan(seed=1)).pretrain_job)
        points = [MetricPoint(1, 1, "loss", math.nan), MetricPoint(2, 1, "loss", -math.inf)]
        store.queue.record(claim, points, CostReading(train_s=0.1 + 0.2, host_peak_rss=2**40))
        store.queue.fail(claim, reason="the loss is nan", cost=None)
        store.queue.cancel([store.add_run(plan(seed=2), priority=-3).pretrain_job])
        return store.runs(RunQuery(smoke=True))


def runs_in(path):
    return path.read_text("ascii").splitlines()[1:]


def test_runs_are_the_same_wherever_they_go(new_url, tmp_path):
    """SQLite to the store of this test to another one of its kind, and back to SQLite."""
    places = [f"{tmp_path}/first.db", new_url(), new_url(), f"{tmp_path}/last.db"]
    before = fill(places[0])
    bundles = [tmp_path / f"{number}.jsonl" for number in range(len(places))]
    export_runs(places[0], bundles[0])
    for number, place in enumerate(places[1:], start=1):
        imported, existing = import_runs(place, bundles[number - 1])
        assert (imported, existing) == ([run.id for run in before], [])
        assert import_runs(place, bundles[number - 1]) == ([], imported)
        export_runs(place, bundles[number])
        assert runs_in(bundles[number]) == runs_in(bundles[0])
        assert check(place) == []
        with RunStore.open(place, mode="read") as store:
            assert store.runs(RunQuery(smoke=True)) == before
            assert store.correct(before[0].id, "top1") == (b"\xb1\x80", 9)


def test_the_imported_run_can_be_repeated_retried_and_removed(new_url, tmp_path):
    fill(f"{tmp_path}/first.db")
    bundle = tmp_path / "runs.jsonl"
    export_runs(f"{tmp_path}/first.db", bundle)
    url = new_url()
    import_runs(url, bundle)
    with RunStore.open(url, mode="write") as store:
        done, _, failed, cancelled = store.runs(RunQuery(smoke=True))
        same = plan(name="again", smoke=True)
        assert store.add_run(same).existed
        complete(store, same, force=True)
        assert len(store.queue.retry([failed.jobs[0].id])) == 1
        claim = store.queue.claim_next("cpu")
        assert (claim.job_id, claim.attempt) == (failed.jobs[0].id, 2)
        store.queue.finish(claim, results={"online_top1": 50.0}, cost=CostReading())
        store.remove([done.id, cancelled.id])
    assert check(url) == []
    imported, existing = import_runs(url, bundle)
    assert (len(imported), len(existing)) == (2, 2)
    assert check(url) == []


def test_of_two_imports_at_once_each_run_comes_in_once(new_url, tmp_path):
    runs = [run.id for run in fill(f"{tmp_path}/first.db")]
    bundle = tmp_path / "runs.jsonl"
    export_runs(f"{tmp_path}/first.db", bundle)
    url = new_url()
    open_for_writing(url).close()
    counted = []
    threads = [
        threading.Thread(target=lambda: counted.append(import_runs(url, bundle))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(imported) for imported, _ in counted) == [0, 0, 0, 4]
    assert all(sorted(imported + existing) == sorted(runs) for imported, existing in counted)
    assert check(url) == []


@pytest.fixture(params=["0001", "0004"])
def version(request):
    """Of the first schema, and of the last one that named each value of a metric."""
    return request.param


@pytest.fixture
def old(new_url, tmp_path, version):
    """The URL of a store of an older schema, with the rows of the frozen one."""
    url = make_url(new_url())
    if url.drivername != "sqlite":
        url = url.set(drivername="postgresql+psycopg")
    shutil.copy(FROZEN / f"{version}.db", tmp_path / "frozen.db")
    source, target = create_engine(f"sqlite:///{tmp_path}/frozen.db"), create_engine(url)
    with source.connect() as reader, target.begin() as writer:
        config = schema._alembic_config()
        config.attributes["connection"] = writer
        command.upgrade(config, version)
        for name in (*TABLES, *(["study_runs"] if version > "0002" else [])):
            table = Table(name, MetaData(), autoload_with=reader)
            rows = [in_utc(row) for row in reader.execute(select(table)).mappings()]
            writer.execute(Table(name, MetaData(), autoload_with=writer).insert(), rows)
            if writer.dialect.name == "postgresql" and name in NUMBERED:
                writer.execute(  # rows that bring their number along do not count
                    text(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))")
                )
    source.dispose()
    target.dispose()
    return url.render_as_string(hide_password=False)


def in_utc(row):
    """Return a row with time zones, which SQLite does not keep."""
    return {
        key: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for key, value in row.items()
    }


def test_an_older_store_is_upgraded_with_all_that_it_holds(old, version, tmp_path):
    for mode in ("read", "write"):
        with pytest.raises(SchemaVersionError) as caught:
            RunStore.open(old, mode=mode)
        assert "emabench db upgrade " in caught.value.hint
    done = upgrade(old, backup=True)
    assert (done.before, done.after) == (version, tables.SCHEMA_REVISION)
    assert done.on_server is (done.backup is None)
    again = upgrade(old, backup=True)
    assert (again.before, again.backup) == (done.after, None)
    assert check(old) == []

    shutil.copy(FROZEN / f"{version}.db", tmp_path / "reference.db")
    upgrade(f"{tmp_path}/reference.db", backup=False)
    with (
        RunStore.open(old, mode="read") as store,
        RunStore.open(f"{tmp_path}/reference.db", mode="read") as reference,
    ):
        runs = store.runs(RunQuery(smoke=True))
        assert runs == reference.runs(RunQuery(smoke=True))
        done = [run for run in runs if run.state is JobState.DONE]
        assert len(done) == 4
        for run in done:
            assert store.metrics(run.id) == reference.metrics(run.id) != []
            assert store.correct(run.id, "top1") == reference.correct(run.id, "top1") is not None
    with RunStore.open(old, mode="write") as store:
        complete(store, plan())
    assert check(old) == []


@pytest.mark.parametrize("version", ["0001"], indirect=True)
def test_an_upgrade_that_fails_leaves_an_older_store_as_it_was(old):
    def contents():
        engine = create_engine(old)
        with engine.connect() as connection:
            found = {
                name: sorted(
                    map(repr, connection.execute(text(f"SELECT * FROM {name}")).mappings())
                )
                for name in (*TABLES, "alembic_version")
            }
        engine.dispose()
        return found

    engine = create_engine(old)
    with engine.begin() as connection:
        connection.execute(text("UPDATE experiments SET identity = 'null' WHERE id = 4"))
    engine.dispose()
    before = contents()
    with pytest.raises(StoreError, match="cannot be upgraded: AttributeError"):
        upgrade(old, backup=False)
    assert contents() == before


def test_an_empty_database_is_not_upgraded(new_url):
    url = new_url()
    for _ in range(2):
        with pytest.raises(NotFoundError):
            upgrade(url, backup=True)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE jobs SET state = 'asleep' WHERE position = 0", "has an unknown state, 'asleep'"),
        ("UPDATE jobs SET state = 'running' WHERE position = 0", "its running attempts are []"),
        ("UPDATE attempts SET state = 'running'", "is not running, but an attempt at it is"),
        ("UPDATE attempts SET state = 'failed'", "is done, but its newest attempt is failed"),
        ("UPDATE jobs SET depends_on = NULL", "needs no pretraining of its run"),
        ("UPDATE jobs SET attempt = attempt + 1", "counts 2 attempts, but the store has 1"),
        ("DELETE FROM results", "is done and has no results"),
    ],
)
def test_what_is_wrong_is_named_on_every_database(url, statement, words):
    fill(url)
    assert check(url) == []
    database = open_for_writing(url)
    with database.write() as session:
        session.execute(text(statement))
    database.close()
    assert any(words in problem for problem in check(url))
