"""Stores as released versions of the schema wrote them: refused with what to do, then upgraded."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from emabench.errors import SchemaVersionError, StoreError, UsageError
from emabench.records import JobState, RunQuery
from emabench.store import RunStore
from emabench.store.schema import tables
from emabench.store.schema import version as schema
from emabench.store.transfer.soundness import check
from emabench.store.transfer.upgrade import upgrade

FROZEN = Path(__file__).parents[2] / "assets" / "stores"
VERSIONS = sorted(path.stem for path in FROZEN.glob("*.db"))
DONE, OTHERS = [JobState.DONE] * 4, [JobState.FAILED, JobState.QUEUED]
OLDER = [version for version in VERSIONS if version != tables.SCHEMA_REVISION]


@pytest.fixture
def frozen(tmp_path):
    def copy(version):
        return shutil.copy(FROZEN / f"{version}.db", tmp_path / "results.db")

    return copy


COMPACT = """SELECT job_id, step, name, epoch, value
FROM metrics JOIN series ON series.id = metrics.series_id ORDER BY job_id, step, name"""
"""Metrics as they were before their names moved into a table of their own."""


def rows(path):
    """Return all rows by table, with only those columns that every version has."""
    found = {}
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        for table in ("experiments", "jobs", "attempts", "environments", "costs", "results"):
            found[table] = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
        for row in found["experiments"]:
            row.pop("note", None)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        metrics = "SELECT * FROM metrics ORDER BY job_id, step, name"
        wanted = COMPACT if "series" in tables else metrics
        found["metrics"] = [dict(row) for row in database.execute(wanted)]
    return found


def test_every_revision_has_its_frozen_store():
    script = ScriptDirectory.from_config(schema._alembic_config())
    assert sorted(revision.revision for revision in script.walk_revisions()) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_frozen_store_has_the_version_of_its_name(version):
    with closing(sqlite3.connect(FROZEN / f"{version}.db")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (version,)
        ]


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("version", OLDER)
def test_an_older_store_is_refused_with_the_command_to_run(frozen, version, mode):
    path = frozen(version)
    before = path.read_bytes()
    with pytest.raises(SchemaVersionError) as caught:
        RunStore.open(str(path), mode=mode)
    assert caught.value.hint.endswith(f"emabench db upgrade {path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", OLDER)
def test_an_upgrade_keeps_every_row_and_a_copy(frozen, version):
    path = frozen(version)
    before = rows(path)
    done = upgrade(str(path), backup=True)
    assert (done.before, done.after) == (version, tables.SCHEMA_REVISION)
    assert rows(done.backup) == before
    assert check(str(path)) == []
    after = rows(path)
    for table, old in before.items():
        assert len(after[table]) == len(old) > 0
        for was, now in zip(old, after[table], strict=True):
            changed = {key for key in was if was[key] != now[key]}
            assert changed <= {"process_started"}, table
    with RunStore.open(str(path), mode="write") as store:
        runs = store.runs(RunQuery(smoke=True))
        assert [run.state for run in runs] == (DONE if version == "0001" else DONE + OTHERS)
        assert {job.device_kind for run in runs for job in run.jobs} == {"cpu"}
        assert any(run.studies for run in runs) == (version >= "0003"), "older ones know no studies"
        assert any(run.tags or run.note for run in runs) == (version >= "0006")
        queued = [run.id for run in runs if run.state is JobState.QUEUED]
        claim = store.queue.claim_next("cpu")
        assert ([] if claim is None else [claim.job_id]) == queued
    again = upgrade(str(path), backup=True)
    assert (again.before, again.after, again.backup) == (done.after, done.after, None)


def test_the_newest_frozen_store_is_sound_and_read_without_a_change(frozen):
    path = frozen(tables.SCHEMA_REVISION)
    content = path.read_bytes()
    with RunStore.open(str(path), mode="read") as store:
        runs = store.runs(RunQuery(smoke=True))
    assert [run.state for run in runs] == DONE + OTHERS
    assert [run.tags for run in runs[:3]] == [("first-try", "paper"), ("paper",), ()]
    assert runs[0].note == "the loss is noisier than that of the others"
    assert [run.studies for run in runs] == [
        ("momentum-free-boost", "projector-vs-full"), *[("projector-vs-full",)] * 3, (), (),
    ]  # fmt: skip
    assert check(str(path)) == []
    assert path.read_bytes() == content


BREAKING = {
    "UPDATE metrics SET job_id = 'no' || job_id": "16 rows refer to nothing, the first in series",
    "UPDATE experiments SET identity = 'null' WHERE id = 4": "cannot be upgraded: AttributeError",
    "CREATE TABLE _alembic_tmp_attempts (id INTEGER)": "_alembic_tmp_attempts already exists",
}
"""What a migration stumbles over, before, in the middle and at its end."""


@pytest.mark.parametrize("backup", [True, False])
@pytest.mark.parametrize("statement", BREAKING)
def test_an_upgrade_that_fails_leaves_the_store_as_it_was(frozen, statement, backup):
    path = frozen("0001")
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()
    content = path.read_bytes()
    for _ in range(2):  # what is left of the first try does not stop the second
        with pytest.raises(StoreError, match=BREAKING[statement]) as caught:
            upgrade(str(path), backup=backup)
        assert "it is unchanged" in caught.value.hint
        assert path.read_bytes() == content
        assert [each.name for each in path.parent.iterdir()] == ["results.db"]


KILLED = """
import os, signal, sys
from emabench.store.transfer import upgrade as upgrading

migrate = upgrading.migrate

def die(connection):
    connection.exec_driver_sql("PRAGMA cache_size = 1")  # so that the file itself is half changed
    migrate(connection)
    os.kill(os.getpid(), signal.SIGKILL)

upgrading.migrate = die
upgrading.upgrade(sys.argv[1], backup=False)
"""


def test_an_upgrade_that_is_killed_is_undone_and_can_be_repeated(frozen):
    path = frozen("0001")
    content = path.read_bytes()

    def kill():
        killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
        assert killed.returncode == -signal.SIGKILL
        assert path.read_bytes() != content
        with pytest.raises(StoreError, match="unfinished changes"):
            RunStore.open(str(path), mode="read")

    kill()
    with pytest.raises(SchemaVersionError):  # the hint of a reader: a writer completes them
        RunStore.open(str(path), mode="write")
    assert path.read_bytes() == content
    kill()
    done = upgrade(str(path), backup=True)
    assert rows(done.backup) == rows(FROZEN / "0001.db")
    assert check(str(path)) == []


def test_of_several_upgrades_at_once_one_does_the_work(frozen):
    path = frozen("0001")
    before = rows(path)
    program = "import sys; from emabench.cli.app.main import main; main()"
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, "db", "upgrade", str(path)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        ended = [(*process.communicate(), process.returncode) for process in processes]
    assert {(err, code) for _, err, code in ended} == {("", 0)}
    assert sum("went from schema 0001" in out for out, *_ in ended) == 1
    assert rows(path.with_name("results.db.0001.bak")) == before
    assert check(str(path)) == []


def test_an_upgraded_store_is_one_plain_file(frozen):
    path = frozen("0001")
    with closing(sqlite3.connect(path)) as database:  # as a killed writer leaves it
        database.execute("PRAGMA journal_mode = WAL")
    done = upgrade(str(path), backup=True)
    for each in (path, done.backup):
        assert each.read_bytes()[18:20] == b"\x01\x01"  # SQLite's mark of a file without WAL
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, done.backup.name]


def test_an_upgrade_overwrites_no_file(frozen):
    path = frozen("0001")
    content = path.read_bytes()
    copy = path.with_name("results.db.0001.bak")
    copy.write_text("precious")
    with pytest.raises(UsageError, match=r"results\.db\.0001\.bak exists") as caught:
        upgrade(str(path), backup=True)
    assert "--no-backup" in caught.value.hint
    assert path.read_bytes() == content
    assert copy.read_text() == "precious"
    assert upgrade(str(path), backup=False).backup is None
    assert copy.read_text() == "precious"


def test_the_store_of_a_newer_emabench_is_left_alone(frozen):
    path = frozen(tables.SCHEMA_REVISION)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    content = path.read_bytes()
    with pytest.raises(SchemaVersionError) as caught:
        upgrade(str(path), backup=True)
    assert "pip install --upgrade" in caught.value.hint
    assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["results.db"]


def test_an_upgraded_store_goes_back_and_forth_with_every_metric(frozen):
    path = frozen("0004")
    values = [
        ("nan", 1, 1, None),
        ("inf", 2**31 - 1, 1, float("inf")),
        ("tiny:stem", 0, 0, -5e-324),
        ("name " * 12, 1, 0, 0.1 + 0.2),
    ]
    with closing(sqlite3.connect(path)) as database:
        (job,) = database.execute("SELECT id FROM jobs LIMIT 1").fetchone()
        database.executemany(
            f"INSERT INTO metrics (job_id, name, step, epoch, value) VALUES ('{job}', ?, ?, ?, ?)",
            values,
        )
        database.commit()
    before = rows(path)
    upgrade(str(path), backup=False)
    assert rows(path) == before
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = schema._alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
    engine.dispose()
    with closing(sqlite3.connect(path)) as database:
        assert (
            database.execute("SELECT name FROM sqlite_master WHERE name = 'series'").fetchall()
            == []
        )
    assert rows(path) == before
    upgrade(str(path), backup=False)
    assert rows(path) == before
    assert check(str(path)) == []
