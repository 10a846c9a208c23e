"""Stores as released versions of the schema wrote them: refused with what to do, then upgraded."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from emabench.errors import SchemaVersionError, StoreError, UsageError
from emabench.records import JobState
from emabench.store import RunStore, schema, tables
from emabench.store.maintenance import check, upgrade

FROZEN = Path(__file__).parents[2] / "assets" / "stores"
VERSIONS = sorted(path.stem for path in FROZEN.glob("*.db"))
OLDER = [version for version in VERSIONS if version != tables.SCHEMA_REVISION]


@pytest.fixture
def frozen(tmp_path):
    def copy(version):
        return shutil.copy(FROZEN / f"{version}.db", tmp_path / "results.db")

    return copy


def rows(path):
    """Return all rows by table, with only those columns that every version has."""
    found = {}
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        for table in ("experiments", "jobs", "attempts", "environments", "costs", "metrics",
                      "results"):  # fmt: skip
            found[table] = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
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
        assert all(run.state is JobState.DONE for run in store.runs(smoke=True))
        assert {job.device_kind for run in store.runs(smoke=True) for job in run.jobs} == {"cpu"}
        assert store.claim_next("cpu") is None
    again = upgrade(str(path), backup=True)
    assert (again.before, again.after, again.backup) == (done.after, done.after, None)


def test_the_newest_frozen_store_is_sound_and_read_without_a_change(frozen):
    path = frozen(tables.SCHEMA_REVISION)
    content = path.read_bytes()
    with RunStore.open(str(path), mode="read") as store:
        states = [run.state for run in store.runs(smoke=True)]
    assert states == [JobState.DONE] * 4 + [JobState.FAILED, JobState.QUEUED]
    assert check(str(path)) == []
    assert path.read_bytes() == content


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(frozen):
    path = frozen("0001")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE metrics SET job_id = 'no' || job_id")
        database.commit()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="rows refer to nothing") as caught:
        upgrade(str(path), backup=False)
    assert "it is as it was" in caught.value.hint
    assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["results.db"]


def test_an_upgrade_overwrites_no_file(frozen):
    path = frozen("0001")
    copy = path.with_name("results.db.0001.bak")
    copy.write_text("precious")
    with pytest.raises(UsageError, match=r"results\.db\.0001\.bak exists"):
        upgrade(str(path), backup=True)
    assert copy.read_text() == "precious"
    assert upgrade(str(path), backup=False).backup is None
