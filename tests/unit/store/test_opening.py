"""Opening a store: what is created, what is refused, and what stays untouched."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import pytest
from read_only import read_only
from seeding import complete, plan

from emabench.errors import EmabenchError, NotFoundError, StoreError, UsageError
from emabench.store import RunStore


@pytest.fixture
def path(tmp_path):
    """A closed store with one finished run."""
    path = tmp_path / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        complete(store, plan())
    return path


@pytest.fixture
def open_folder():
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def journal_mode(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_a_missing_store_is_not_created_by_reading(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        RunStore.open(str(tmp_path / "none.db"), mode="read")
    assert "emabench run" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("size", [1, 50, 511, 512, 5000])
def test_garbage_is_refused_and_left_alone(tmp_path, size, mode):
    path = tmp_path / "garbage.db"
    path.write_bytes(b"x" * size)
    with pytest.raises(StoreError, match="not an emabench store"):
        RunStore.open(str(path), mode=mode)
    assert path.read_bytes() == b"x" * size
    assert [p.name for p in tmp_path.iterdir()] == ["garbage.db"]


@pytest.mark.parametrize("mode", ["read", "write"])
def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path, mode):
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an emabench store"):
        RunStore.open(str(path), mode=mode)
    assert path.read_bytes() == before


@pytest.mark.parametrize("begun", [False, True])
def test_where_nothing_was_written_yet_is_no_store_to_read_but_a_place_to_write(tmp_path, begun):
    """So it looks to whoever reads while another process makes a store."""
    path = tmp_path / "empty.db"
    path.touch()
    if begun:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    assert bool(before) == begun
    with pytest.raises(NotFoundError, match="there is no store at"):
        RunStore.open(str(path), mode="read")
    assert path.read_bytes() == before
    with RunStore.open(str(path), mode="write") as store:
        assert store.runs() == []


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_folder_is_no_store(tmp_path, mode):
    with pytest.raises(StoreError, match="is a folder"):
        RunStore.open(str(tmp_path), mode=mode)


def test_a_store_in_a_missing_or_read_only_folder_is_one_line_with_a_hint(open_folder):
    for place in (open_folder / "missing" / "results.db", open_folder / "results.db"):
        with read_only(open_folder), pytest.raises(StoreError) as caught:
            RunStore.open(str(place), mode="write")
        assert "\n" not in caught.value.message
        assert caught.value.hint
    assert list(open_folder.iterdir()) == []


def test_a_read_only_store_is_read_but_not_written(open_folder, path):
    copy = Path(shutil.copy(path, open_folder))
    before = copy.read_bytes()
    with read_only(open_folder):
        with RunStore.open(str(copy), mode="read") as store:
            assert len(store.runs()) == 1
        with pytest.raises(StoreError, match="read-only"):
            RunStore.open(str(copy), mode="write")
    assert copy.read_bytes() == before
    assert [p.name for p in open_folder.iterdir()] == ["results.db"]


def test_a_closed_store_is_one_plain_file_and_reading_leaves_it_so(path):
    assert journal_mode(path) == "delete"
    before = path.read_bytes()
    with RunStore.open(str(path), mode="read") as store:
        (run,) = store.runs()
        store.metrics(run.id)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["results.db"]


def test_a_store_in_use_has_a_write_ahead_log(path):
    with RunStore.open(str(path), mode="write") as writer:
        writer.add_run(plan(seed=1))
        assert journal_mode(path) == "wal"
        with RunStore.open(str(path), mode="read") as reader:
            assert len(reader.runs()) == 2
    assert journal_mode(path) == "delete"


def test_an_idle_store_with_the_mark_of_a_log_is_read_in_a_read_only_folder(open_folder, path):
    copy = Path(shutil.copy(path, open_folder))
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert [p.name for p in open_folder.iterdir()] == ["results.db"]
    before = copy.read_bytes()
    with read_only(open_folder), RunStore.open(str(copy), mode="read") as store:
        assert len(store.runs()) == 1
    assert copy.read_bytes() == before


def test_unfinished_changes_in_a_read_only_folder_are_not_silently_left_out(open_folder, path):
    with RunStore.open(str(path), mode="write") as store:
        store.add_run(plan(seed=1))
        for name in ("results.db", "results.db-wal"):
            shutil.copy(path.with_name(name), open_folder)
    copy = str(open_folder / "results.db")
    with read_only(open_folder), pytest.raises(StoreError, match="unfinished changes"):
        RunStore.open(copy, mode="read")
    with RunStore.open(copy, mode="read") as store:  # where it can be written, nothing is lost
        assert len(store.runs()) == 2


def test_a_truncated_store_is_a_store_error(path):
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(StoreError), RunStore.open(str(path), mode="read") as store:
        store.runs()


def test_a_store_opened_for_reading_refuses_to_write(path):
    with RunStore.open(str(path), mode="read") as store:
        with pytest.raises(StoreError, match="opened for reading"):
            store.add_run(plan(seed=1))
        assert len(store.runs()) == 1


def test_a_path_may_be_written_as_url(path):
    with RunStore.open(f"sqlite:///{path}", mode="read") as store:
        assert len(store.runs()) == 1


def test_a_path_may_hold_what_means_something_in_a_url(tmp_path):
    path = tmp_path / "50% of #1?.db"
    RunStore.open(str(path), mode="write").close()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with RunStore.open(str(path), mode="read") as store:
        assert store.runs() == []


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("", UsageError),
        ("sqlite://", UsageError),
        ("sqlite:///:memory:", UsageError),
        ("://", UsageError),
        ("nosuchdatabase://user:secret@host/name", UsageError),
        ("postgresql+psycopg2://user:secret@host/name", UsageError),
        ("postgresql://user:secret@host", UsageError),
        ("postgresql://user:half@secret@host/name", UsageError),
    ],
)
@pytest.mark.parametrize("mode", ["read", "write"])
def test_what_is_no_place_for_a_store_is_one_line_with_a_hint(location, error, mode):
    with pytest.raises(EmabenchError) as caught:
        RunStore.open(location, mode=mode)
    assert type(caught.value) is error
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message


SERVER = "postgresql://user@localhost:1/name"
"""Its options are known where psycopg is installed, so that tests of them are external."""


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("sqlite:///u.db?mode=ro", "'mode'"),
        ("sqlite:///u.db?uri=true&immutable=1", "'uri'"),
        ("sqlite+aiosqlite:///u.db", "a file and nothing else"),
        ("sqlite://host/u.db", "a file and nothing else"),
        pytest.param(f"{SERVER}?mode=ro", "'mode'", marks=pytest.mark.external),
        pytest.param(f"{SERVER}?autocommit=true", "'autocommit'", marks=pytest.mark.external),
        pytest.param(f"{SERVER}?row_factory=x", "'row_factory'", marks=pytest.mark.external),
    ],
)
def test_a_url_with_an_option_that_would_not_be_obeyed_is_refused(
    tmp_path, monkeypatch, location, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        RunStore.open(location, mode="write")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_without_its_driver_is_one_line_that_says_what_to_install(
    monkeypatch, scheme, mode
):
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with pytest.raises(StoreError) as caught:
        RunStore.open(f"{scheme}://user:secret@host/name?password=secret", mode=mode)
    assert "emabench[postgres]" in caught.value.hint
    assert f"{scheme}://user:***@host/name" in caught.value.message
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message
