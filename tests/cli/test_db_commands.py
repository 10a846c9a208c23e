"""db upgrade, check, backup and vacuum as a user types them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from seeding import complete, plan

from emabench.records import MetricPoint
from emabench.store import RunStore

OLD = Path(__file__).parents[1] / "assets" / "stores" / "0001.db"


@pytest.fixture
def runs(folder):
    """Three finished runs in results.db."""
    with RunStore.open("results.db", mode="write") as store:
        return [complete(store, plan(seed=seed)) for seed in range(3)]


def change(statement):
    with closing(sqlite3.connect("results.db")) as database:
        database.execute(statement)
        database.commit()


def test_an_old_store_is_upgraded_by_the_command_of_the_hint(emabench, folder):
    shutil.copy(OLD, "results.db")
    refused = emabench(["list"])
    assert refused.code == 1
    command = refused.hint.partition("emabench ")[2].split()
    assert command == ["db", "upgrade", "results.db"]
    done = emabench([*command, "--json"])
    assert json.loads(done.out) == {
        "schema_version": 1, "before": "0001", "after": "0007", "backup": "results.db.0001.bak",
    }  # fmt: skip
    with (
        closing(sqlite3.connect(folder / "results.db.0001.bak")) as copy,
        closing(sqlite3.connect(OLD)) as old,
    ):
        assert list(copy.iterdump()) == list(old.iterdump())
    assert len(json.loads(emabench(["list", "--smoke", "--json"]).out)["runs"]) == 4
    assert emabench(["db", "upgrade"]).out == "results.db is up to date: schema 0007\n"


def test_a_sound_store_is_sound_and_unchanged(emabench, folder, runs):
    before = (folder / "results.db").read_bytes()
    assert emabench(["db", "check"]).out == "results.db is sound\n"
    assert json.loads(emabench(["db", "check", "--json"]).out)["ok"] is True
    assert (folder / "results.db").read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "UPDATE jobs SET state = 'running' WHERE position = 0",
            "is running, but its running attempts",
        ),
        ("UPDATE attempts SET state = 'running'", "is not running, but an attempt at it is"),
        ("UPDATE jobs SET attempt = 2", "counts 2 attempts, but the store has 1"),
        ("UPDATE jobs SET state = 'failed' WHERE position = 0", "which it needs, is failed"),
        ("UPDATE jobs SET state = 'queued' WHERE position = 1", "is queued and has results"),
        ("DELETE FROM results", "is done and has no results"),
        ("UPDATE series SET job_id = 'x' || job_id", "row 1 of series refers to no row of jobs"),
        (
            "UPDATE metrics SET series_id = series_id + 9",
            "12 rows of metrics refer to no row of series",
        ),
        ("UPDATE jobs SET kind = 'bench' WHERE position = 0", "has no pretraining"),
        ("UPDATE jobs SET depends_on = NULL", "needs no pretraining of its run"),
        (
            "UPDATE jobs SET depends_on = (SELECT max(id) FROM jobs WHERE position = 0)",
            "needs no pretraining of its run",
        ),
        ("UPDATE attempts SET state = 'failed'", "is done, but its newest attempt is failed"),
        ("UPDATE jobs SET state = 'asleep' WHERE position = 0", "has an unknown state, 'asleep'"),
        ("UPDATE jobs SET kind = 'nap' WHERE position = 1", "has an unknown kind, 'nap'"),
        ("UPDATE attempts SET state = 'asleep'", "has an unknown state, 'asleep'"),
    ],
)
def test_what_is_wrong_is_named(emabench, runs, statement, words):
    change(statement)
    result = emabench(["db", "check"])
    assert result.code == 1
    assert words in result.out
    answer = json.loads(emabench(["db", "check", "--json"]).out)
    assert answer["problems"] == result.out.splitlines()


def test_a_backup_while_a_worker_writes_is_one_plain_consistent_file(emabench, folder, runs):
    stop = threading.Event()
    with RunStore.open("results.db", mode="write") as store:
        job = store.add_run(plan(seed=9)).pretrain_job
        claim = store.queue.claim(job)
        step = iter(range(1_000_000))

        def write():
            while not stop.is_set():
                now = next(step)
                store.queue.record(
                    claim, [MetricPoint(now, 1, name, 1.0) for name in ("loss", "lr")]
                )

        writer = threading.Thread(target=write)
        writer.start()
        try:
            result = emabench(["db", "backup", "-o", "copy.db"])
        finally:
            stop.set()
            writer.join()
    assert result.code == 0
    assert not list(folder.glob("copy.db?*"))
    assert emabench(["db", "check", "copy.db"]).code == 0
    with RunStore.open("copy.db", mode="read") as copied:
        assert len(copied.runs()) == 4
        assert len(copied.metrics(job)) % 2 == 0
    assert Path("copy.db").read_bytes()[18:20] == b"\x01\x01"  # SQLite's mark of a file without WAL
    refused = emabench(["db", "backup", "-o", "copy.db"])
    assert (refused.code, "--force" in refused.hint) == (2, True)
    assert emabench(["db", "backup", "-o", "copy.db", "--force"]).code == 0


def test_a_backup_never_takes_the_place_of_the_store_itself(emabench, folder, runs):
    store = folder / "results.db"
    before = store.stat().st_ino, store.read_bytes()
    (folder / "link.db").symlink_to("results.db")
    for file in ("results.db", "./results.db", "link.db"):
        refused = emabench(["db", "backup", "-o", file, "--force"])
        assert (refused.code, "is the store itself" in refused.err) == (2, True)
    assert (store.stat().st_ino, store.read_bytes()) == before


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_backup_is_not_put_beside_what_would_be_read_into_it(emabench, folder, runs, end):
    Path("other.db").write_text("in use")
    Path(f"other.db{end}").write_text("changes of another store")
    refused = emabench(["db", "backup", "-o", "other.db", "--force"])
    assert (refused.code, f"other.db{end} is beside it" in refused.err) == (2, True)
    assert Path("other.db").read_text() == "in use"


def test_a_backup_that_fails_leaves_nothing_and_touches_no_other_file(emabench, folder, runs):
    Path("copy.db.tmp").write_text("precious")
    Path("busy").mkdir()
    Path("busy/file").touch()
    for target in ("nowhere/copy.db", "busy"):
        failed = emabench(["db", "backup", "-o", target, "--force"])
        assert (failed.code, bool(failed.hint)) == (1, True)
    assert emabench(["db", "backup", "-o", "copy.db"]).code == 0
    assert Path("copy.db.tmp").read_text() == "precious"
    names = {path.name for path in folder.iterdir()}
    assert names == {"results.db", "busy", "copy.db", "copy.db.tmp"}


@pytest.mark.parametrize("command", ["check", "vacuum", "backup"])
def test_an_older_store_is_left_alone_with_the_command_to_run(emabench, folder, command):
    shutil.copy(OLD, "results.db")
    before = Path("results.db").read_bytes()
    refused = emabench(["db", command, *(["-o", "copy.db"] if command == "backup" else [])])
    assert refused.hint == "hint: bring it up to date: emabench db upgrade results.db"
    assert Path("results.db").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["results.db"]


def test_what_is_for_a_file_says_what_a_server_has_instead(emabench, folder):
    url = "postgresql://me:secret@127.0.0.1:1/results"
    for arguments, instead in (
        (["backup", "-o", "copy.db"], "pg_dump"),
        (["scrub", "-o", "copy.db"], "emabench export"),
        (["vacuum"], "autovacuum"),
    ):
        refused = emabench(["db", *arguments, url])
        assert (refused.code, instead in refused.hint) == (2, True)
        assert "secret" not in refused.err
    assert list(folder.iterdir()) == []


def test_vacuum_gives_back_what_was_deleted(emabench, folder, runs):
    with RunStore.open("results.db", mode="write") as store:
        claim = store.queue.claim(store.add_run(plan(seed=9)).pretrain_job)
        store.queue.record(claim, [MetricPoint(step, 1, "loss", 1.0) for step in range(20_000)])
    change("DELETE FROM metrics WHERE step > 100")
    found = json.loads(emabench(["db", "vacuum", "--json"]).out)
    assert found["bytes_after"] < found["bytes_before"] / 2
    assert found["bytes_after"] == (folder / "results.db").stat().st_size
    assert [path.name for path in folder.iterdir()] == ["results.db"]


def test_vacuum_says_what_it_gave_back_also_while_others_have_the_store_open(
    emabench, folder, runs
):
    with RunStore.open("results.db", mode="write") as store:
        claim = store.queue.claim(store.add_run(plan(seed=9)).pretrain_job)
        store.queue.record(claim, [MetricPoint(step, 1, "loss", 1.0) for step in range(20_000)])
        change("DELETE FROM metrics WHERE step > 100")
        found = json.loads(emabench(["db", "vacuum", "--json"]).out)
        files = [
            path.stat().st_size for path in folder.glob("results.db*") if "shm" not in path.name
        ]
        assert found["bytes_after"] == sum(files) < found["bytes_before"] / 2
        store.queue.record(claim, [MetricPoint(20_001, 1, "loss", 1.0)])
        assert len(store.metrics(claim.job_id)) == 102


@pytest.mark.parametrize("command", ["upgrade", "check", "vacuum", "backup", "scrub"])
def test_what_is_no_store_is_left_alone(emabench, folder, command):
    options = ["-o", "copy.db"] if command in ("backup", "scrub") else []
    missing = emabench(["db", command, *options])
    assert (missing.code, list(folder.iterdir())) == (3, [])
    Path("results.db").write_bytes(b"something else" * 1000)
    foreign = emabench(["db", command, *options])
    assert foreign.code == 1
    assert foreign.hint
    assert Path("results.db").read_bytes() == b"something else" * 1000
    assert [path.name for path in folder.iterdir()] == ["results.db"]
