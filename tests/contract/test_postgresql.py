"""What is different on a database server: users, networks, settings and ends of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from datetime import UTC

import postgres
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from seeding import ENVIRONMENT, complete, plan
from sqlalchemy import inspect, make_url, text

from emabench.errors import FencedError, NotFoundError, StoreError, StoreUnreachableError
from emabench.records import CostReading, JobState, MetricPoint, RunQuery
from emabench.store import RunStore
from emabench.store.connection import postgresql as server_module
from emabench.store.schema import version as schema
from emabench.store.schema.tables import StoreTable

pytestmark = pytest.mark.external


@pytest.fixture
def url(server):
    with server.database() as found:
        yield found


def changed(url, **parts):
    return make_url(url).set(**parts).render_as_string(hide_password=False)


def complaint(url, mode):
    """Return the error of opening a store, after a look at its form."""
    with pytest.raises(StoreError) as caught:
        RunStore.open(url, mode=mode)
    assert type(caught.value) in (StoreError, StoreUnreachableError)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    password = make_url(url).password
    assert password not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_wrong_password_is_one_line_without_it(url, mode):
    error = complaint(changed(url, password="let-me-in"), mode)
    assert "refuses the login: password authentication failed" in error.message
    assert "password" in error.hint


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_server_that_does_not_run_is_one_line(url, mode):
    error = complaint(changed(url, port=1), mode)
    assert "cannot connect" in error.message
    assert "refused" in error.message
    assert "whether the server runs" in error.hint
    error = complaint(changed(url, host="no-such-host.invalid"), mode)
    assert "no-such-host.invalid" in error.message


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_missing_database_says_how_to_create_it(url, mode):
    error = complaint(changed(url, database="nothing_here"), mode)
    assert "does not exist" in error.message
    assert "createdb" in error.hint


def test_a_user_who_may_not_create_tables_is_told_so(server, url):
    server.execute("DROP ROLE IF EXISTS {}", "emabench_guest")
    server.execute("CREATE ROLE {} LOGIN PASSWORD 'guest-secret'", "emabench_guest")
    try:
        guest = changed(url, username="emabench_guest", password="guest-secret")
        error = complaint(guest, "write")
        assert "may not be changed by this user" in error.message
        assert "OWNER TO" in error.hint
        with pytest.raises(NotFoundError):
            RunStore.open(guest, mode="read")
    finally:
        server.execute("DROP ROLE {}", "emabench_guest")


def test_an_empty_database_is_no_store_to_read_and_stays_empty(url):
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            RunStore.open(url, mode="read")
        assert "emabench run" in caught.value.hint


@pytest.mark.parametrize("mode", ["read", "write"])
def test_the_database_of_another_program_is_refused_and_left_alone(url, mode):
    postgres.Server(make_url(url)).execute("CREATE TABLE theirs (number INTEGER)")
    assert "not an emabench store" in complaint(url, mode).message


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_usual_way_to_write_the_url_is_understood(url, scheme):
    with RunStore.open(changed(url, drivername=scheme), mode="write") as store:
        assert store.runs() == []


def test_the_migrated_schema_is_the_declared_one_and_can_be_undone(url):
    with RunStore.open(url, mode="write") as store, store._database.write() as session:
        connection = session.connection()
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, StoreTable.metadata) == []
        config = schema._alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_read_only", "on"),
        ("timezone", "Asia/Kolkata"),
        ("client_encoding", "latin1"),
        ("standard_conforming_strings", "off"),
    ],
)
def test_the_settings_of_a_server_change_nothing(server, url, setting, value):
    server.execute("ALTER DATABASE {} SET {} TO {}", make_url(url).database, setting, value)
    with RunStore.open(url, mode="write") as store:
        run = store.run(complete(store, plan(name="名前 % \\ ' \N{SNOWMAN}")))
        assert run.name == "名前 % \\ ' \N{SNOWMAN}"
        assert run.created_at.tzinfo is UTC
        assert run.jobs[0].attempts[0].started_at.tzinfo is UTC
        with store._database.write() as session:
            assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
        with store._database.read() as session:
            assert session.scalar(text("SHOW transaction_isolation")) == "repeatable read"
            assert session.scalar(text("SHOW transaction_read_only")) == "on"


def test_a_reader_sees_one_moment(url):
    with RunStore.open(url, mode="write") as store, store._database.read() as session:
        count = text("SELECT count(*) FROM jobs")
        assert session.scalar(count) == 0
        store.add_run(plan())
        assert session.scalar(count) == 0


def disconnect_all(server, url):
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{make_url(url).database}'"
    )


def test_a_connection_that_is_cut_is_a_store_error_and_the_next_one_works(server, url):
    with RunStore.open(url, mode="write") as store:
        run = store.add_run(plan())
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)

        def change_while_the_connection_is_cut():
            with store._database.write() as session:
                session.execute(text("UPDATE jobs SET priority = 7"))
                disconnect_all(server, url)
                session.execute(text("SELECT 1"))

        with pytest.raises(StoreError, match="is gone") as caught:
            change_while_the_connection_is_cut()
        assert "once the server is back" in caught.value.hint
        store.queue.record(claim, [MetricPoint(1, 1, "loss", 5.0)])
        disconnect_all(server, url)  # while the connection is idle
        store.queue.finish(claim, results={}, cost=CostReading())
        assert len(store.metrics(run.id)) == 1
        assert {job.priority for job in store.run(run.id).jobs} == {0}


def test_a_writer_that_hangs_in_the_middle_of_a_change_loses_it(url, monkeypatch):
    changes = server_module._CHANGES
    impatient = re.sub(r"session_timeout = '\d+s'", "session_timeout = '200ms'", changes)
    assert impatient != changes
    with RunStore.open(url, mode="write") as other, RunStore.open(url, mode="write") as store:
        run = other.add_run(plan())

        def hang():
            with monkeypatch.context() as shortly:
                shortly.setattr(server_module, "_CHANGES", impatient)
                session = stack.enter_context(store._database.write())
                session.execute(text("UPDATE jobs SET priority = 7"))
            assert other.queue.cancel([run.pretrain_job]) == [
                run.pretrain_job
            ]  # waits until it may
            session.execute(text("SELECT 1"))

        with pytest.raises(StoreError, match="is gone"), contextlib.ExitStack() as stack:
            hang()
        assert {job.priority for job in other.run(run.id).jobs} == {0}


WRITER = """
import sys
from seeding import plan
from emabench.errors import StoreError
from emabench.records import CostReading, MetricPoint
from emabench.store import RunStore

url = sys.argv[1]

def read_until_the_server_is_gone():
    with reader._database.read() as session:
        session.connection()
        print(claim.job_id, flush=True)
        sys.stdin.readline()

with RunStore.open(url, mode="write") as store, RunStore.open(url, mode="read") as reader:
    claim = store.queue.claim_next("cpu")
    write = lambda: store.queue.record(claim, [MetricPoint(1, 1, "loss", 5.0)])
    for attempt in (read_until_the_server_is_gone, write, reader.runs):
        try:
            attempt()
        except StoreError as error:
            print(error.message, flush=True)
    sys.stdin.readline()
    write()
    store.queue.finish(claim, results={"top1": 60.0}, cost=CostReading())
    print(reader.run(claim.job_id).jobs[0].state, flush=True)
"""


def test_a_server_that_goes_away_under_a_writer_and_comes_back():
    server = postgres.PrivateServer()
    try:
        with server.database() as url:
            with RunStore.open(url, mode="write") as store:
                run = store.add_run(plan())
            with subprocess.Popen(
                [sys.executable, "-c", WRITER, url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            ) as process:
                assert process.stdout.readline().strip() == run.id
                server.stop()
                process.stdin.write("gone\n")
                process.stdin.flush()
                for complaint in ("is gone", "cannot connect", "cannot connect"):
                    said = process.stdout.readline()
                    assert complaint in said
                    assert make_url(url).password not in said
                server.start()
                out, complaints = process.communicate("back\n")
            assert (out, complaints, process.returncode) == ("done\n", "", 0)
            with RunStore.open(url, mode="read") as store:
                assert [point.value for point in store.metrics(run.id)] == [5.0]
    finally:
        server.remove()


@pytest.mark.slow
def test_workers_go_on_after_restarts_of_the_server(tmp_path):
    emabench = [sys.executable, "-m", "emabench"]
    server = postgres.PrivateServer()
    try:
        with server.database() as url:
            env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "EMABENCH_DB": url}
            queue = ["queue", "--preset", "smoke", "--seed", "0..1", "--epochs", "4"]
            subprocess.run([*emabench, *queue], env=env, cwd=tmp_path, check=True)
            with subprocess.Popen(
                [*emabench, "work", "--device", "cpu", "--jobs-per-device", "2", "--idle-exit"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=env,
                cwd=tmp_path,
            ) as worker:
                for _ in range(2):
                    with RunStore.open(url, mode="read") as store:
                        while not any(a.heartbeat or a.step for a in store.queue.running()):
                            assert worker.poll() is None
                            time.sleep(0.1)
                    server.stop()
                    time.sleep(3)
                    server.start()
                    time.sleep(1)
                _, said = worker.communicate()
            assert worker.returncode == 0, said
            assert "waiting for it" in said
            assert "the store is back" in said
            with RunStore.open(url, mode="read") as store:
                runs = store.runs(RunQuery(smoke=True))
                assert [run.state for run in runs] == [JobState.DONE] * 2
                assert {job.attempt for run in runs for job in run.jobs} == {1}
                for run in runs:
                    points = store.metrics(run.id)
                    assert len({(p.step, p.name) for p in points}) == len(points)
    finally:
        server.remove()


def test_a_worker_waits_for_a_command_that_changes_its_job_and_then_stops(server, url):
    with RunStore.open(url, mode="write") as store, RunStore.open(url, mode="write") as mine:
        run = store.add_run(plan())
        claim = mine.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        fenced = []

        def finish():
            try:
                mine.queue.finish(claim, results={"top1": 60.0}, cost=CostReading())
            except FencedError as error:
                fenced.append(error)

        worker = threading.Thread(target=finish)
        with store._database.write() as session:
            session.execute(text("UPDATE jobs SET state = 'cancelled'"))
            worker.start()
            while waiting(server, url) == 0:
                pass
        worker.join()
        assert len(fenced) == 1
        assert store.run(run.id).results == {}
        assert store.run(run.id).state is JobState.CANCELLED


def waiting(server, url) -> int:
    """Return how many connections wait for a lock."""
    (count,) = server.execute(
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE datname = '{make_url(url).database}' AND wait_event_type = 'Lock'"
    )
    return count
