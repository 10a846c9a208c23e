"""SQLite: a store in one file. All that only SQLite needs is here.

A writer sets WAL, so that readers never wait; the last writer turns the closed store back into
one plain file, which can be copied and read in a read-only folder. A reader sets no mode and
leaves the file as it is, byte for byte.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from emabench.errors import StoreError
from emabench.store.connection.database import WRITES, Database, readable_errors, store_error
from emabench.store.connection.location import (
    check_writable,
    identity,
    lost,
    not_a_store,
    not_writable,
    size_of,
)
from emabench.store.schema.version import Contents, check_version, contents
from emabench.user_paths import is_there

_LOCK_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_CANNOT_CREATE_INDEX = ("unable to open", "readonly")
"""What SQLite says, by user and file system, where WAL's index file cannot be made."""


def writable_file(path: Path, label: str) -> Database:
    """Open a file to write; whether it holds a store of this schema is not looked at yet.

    Raises:
        StoreError: it is no store, or cannot be written.
    """
    check_writable(path, label)
    undo_half_done(path)
    _check_is_not_foreign(path, label)
    _begin_wal(path, label)
    engine = sqlite_engine(lambda: connect_sqlite(path, "mode=rwc"))
    return Database(
        engine, label, writable=True, on_close=lambda: end_wal(path), check=_Watch(path, label)
    )


class _Watch:
    """Checks that a store is still where it was opened, and still a store.

    Open connections go on writing into a file that was deleted or overwritten; nobody would find
    again what is written there.
    """

    def __init__(self, path: Path, label: str) -> None:
        self._path, self._label = path, label
        self._identity = identity(path)
        self._looked_at = time.monotonic()

    def __call__(self) -> None:
        """Look at the file, and now and then into it, with a connection that knows nothing yet.

        Raises:
            StoreLostError: it is not there any more.
        """
        if identity(self._path) != self._identity:
            raise lost(self._label)
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            with contextlib.closing(connect_sqlite(self._path, "mode=rw")) as connection:
                connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise lost(self._label) from None
        except sqlite3.DatabaseError:
            raise lost(self._label) from None


def _check_is_not_foreign(path: Path, label: str) -> None:
    """Look at an existing file without changing it, before anything is written to it.

    Raises:
        StoreError: it is no store, or has another schema version.
    """
    if size_of(path) == 0:
        return
    engine = reading_engine(path, label)
    try:
        with readable_errors(label), engine.connect() as connection:
            found = contents(connection)
            if found is Contents.FOREIGN:
                raise not_a_store(label)
            if found is Contents.STORE:
                check_version(connection, label)
    finally:
        engine.dispose()


def sqlite_engine(connect: Callable[[], sqlite3.Connection]) -> Engine:
    """Return an engine whose writers take the write lock at once."""
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # The driver begins no transaction by itself (isolation_level=None): a writer takes the
        # write lock at once, because a reader that turns writer later can fail at any time.
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def connect_sqlite(path: Path, parameters: str) -> sqlite3.Connection:
    """Open a connection that begins no transaction by itself; the parameters are those of a URI."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}",
        uri=True,
        timeout=_LOCK_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # With WAL, NORMAL survives a crash of the program; only a power cut can lose the last writes.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def reading_engine(path: Path, label: str) -> Engine:
    """Return an engine that never writes, also where SQLite cannot create its WAL index."""
    engine = sqlite_engine(lambda: connect_sqlite(path, "mode=ro"))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except OperationalError as error:
        engine.dispose()
        if not any(words in str(error.orig) for words in _CANNOT_CREATE_INDEX):
            with readable_errors(label):
                raise
        logs = [path.with_name(f"{path.name}-{end}") for end in ("wal", "journal")]
        for log in logs:
            if size_of(log) > 0:
                raise StoreError(
                    f"the store {label} has unfinished changes that a reader cannot complete",
                    hint=f"where its folder is read-only, copy it with {log.name} to another one; "
                    "the next emabench run on it completes them",
                ) from None
        return sqlite_engine(lambda: connect_sqlite(path, "mode=ro&immutable=1"))
    except SQLAlchemyError:
        engine.dispose()
        with readable_errors(label):
            raise
    return engine


def undo_half_done(path: Path) -> None:
    """Let SQLite undo what a killed process left half done, which no reader can."""
    journal = path.with_name(f"{path.name}-journal")
    if size_of(journal) == 0 or not is_there(path):
        return
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(connect_sqlite(path, "mode=rw")) as connection,
    ):
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()


def _begin_wal(path: Path, label: str) -> None:
    """Switch to WAL; SQLite does not wait for other processes here, so this does."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            with contextlib.closing(connect_sqlite(path, "mode=rwc")) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise not_writable(label) from None
            if time.monotonic() > deadline:
                raise store_error(label, str(error)) from None
            time.sleep(0.02)


def end_wal(path: Path) -> None:
    """Leave one plain file behind if no other process has the store open."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(connect_sqlite(path, "mode=rw")) as connection,
    ):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
