"""Keeping a store in order: to the newest schema, sound, copied, small."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from emabench.errors import StoreError, UsageError
from emabench.store import tables
from emabench.store.database import WRITES, readable_errors
from emabench.store.invariants import broken_invariants
from emabench.store.location import Location, not_a_store
from emabench.store.opening import (
    connect_sqlite,
    engine_to_read,
    open_for_reading,
    open_for_writing,
    sqlite_engine,
)
from emabench.store.schema import Contents, check_version, contents, is_older, migrate, version_of
from emabench.store.server import lock_schema


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        before: schema version that was found.
        after: schema version that the store has now.
        backup: copy of the store as it was; None where none was made.
    """

    before: str
    after: str
    backup: Path | None


def upgrade(location: str, *, backup: bool) -> Upgrade:
    """Bring a store to the newest schema; whatever goes wrong leaves it as it was.

    Args:
        location: path or URL.
        backup: whether to keep a copy of an older file beside it.

    Raises:
        NotFoundError: nothing is there.
        UsageError: the copy would overwrite a file.
        StoreError: it is no store, a newer one, or the migration failed.
    """
    place = Location.parse(location)
    engine = engine_to_read(place)
    try:
        with readable_errors(place.label), engine.connect() as connection:
            if contents(connection) is not Contents.STORE:
                raise not_a_store(place.label)
            before = version_of(connection)
            if not is_older(before):
                check_version(connection, place.label)
                return Upgrade(tables.SCHEMA_REVISION, tables.SCHEMA_REVISION, None)
        if place.url is not None:
            with readable_errors(place.label), engine.connect() as connection:
                _migrate(connection.execution_options(**{WRITES: True}), place.label)
            return Upgrade(str(before), tables.SCHEMA_REVISION, None)
    finally:
        engine.dispose()
    assert place.path is not None
    copy = place.path.with_name(f"{place.path.name}.{before}.bak") if backup else None
    if copy is not None:
        copy_sqlite(place.path, copy, place.label, overwrite=False)
    _migrate_file(place.path, place.label)
    return Upgrade(str(before), tables.SCHEMA_REVISION, copy)


def _migrate_file(path: Path, label: str) -> None:
    def connect() -> sqlite3.Connection:
        connection = connect_sqlite(path, "mode=rw")
        # A table is rebuilt by dropping the old one, which other tables refer to.
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection

    engine = sqlite_engine(connect)
    try:
        with readable_errors(label), engine.connect() as connection:
            _migrate(connection.execution_options(**{WRITES: True}), label)
    finally:
        engine.dispose()


def _migrate(connection: Connection, label: str) -> None:
    """Migrate in one transaction, and look for rows that refer to nothing before it counts."""
    with connection.begin():
        lock_schema(connection)
        try:
            migrate(connection)
        except SQLAlchemyError as error:
            raise StoreError(
                f"the store {label} cannot be upgraded: {str(error).splitlines()[0]}",
                hint="it is as it was; emabench db check says what is wrong with it",
            ) from error
        if connection.dialect.name == "sqlite":
            lost = connection.execute(text("PRAGMA foreign_key_check")).all()
            if lost:
                raise StoreError(
                    f"the store {label} cannot be upgraded: {len(lost)} rows refer to nothing, "
                    f"the first in {lost[0][0]}",
                    hint="it is as it was; restore it from a copy",
                )


def check(location: str) -> list[str]:
    """Return what is wrong with a store, in words; nothing is changed.

    Args:
        location: path or URL.

    Raises:
        NotFoundError: nothing is there.
        StoreError: it is no store, cannot be read, or has another schema version.
    """
    database = open_for_reading(location)
    try:
        with database.read() as session:
            return [*_damage(session), *broken_invariants(session)]
    finally:
        database.close()


def _damage(session: Session) -> list[str]:
    """Ask SQLite whether the file itself is sound."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    found = [row[0] for row in session.execute(text("PRAGMA integrity_check"))]
    problems = [] if found == ["ok"] else [f"the file is damaged: {line}" for line in found]
    for row in session.execute(text("PRAGMA foreign_key_check")):
        problems.append(f"row {row[1]} of {row[0]} refers to no row of {row[2]}")
    return problems


def copy_store(location: str, target: Path, *, overwrite: bool) -> None:
    """Copy a store into one plain file, also while others write to it.

    Args:
        location: path or URL of SQLite.
        target: the file to write.
        overwrite: whether it may be there already.

    Raises:
        UsageError: the store lies on a server, or the file is there.
        StoreError: it is no store, or the file cannot be written.
    """
    place = Location.parse(location)
    if place.path is None:
        raise UsageError(
            f"{place.label} lies on a server, which has tools of its own",
            hint="use pg_dump, or emabench export",
        )
    open_for_reading(location).close()
    copy_sqlite(place.path, target, place.label, overwrite=overwrite)


def copy_sqlite(source: Path, target: Path, label: str, *, overwrite: bool) -> None:
    """Copy an SQLite file consistently, by way of a temporary file."""
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists", hint="name another file, or move it away")
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with (
            contextlib.closing(connect_sqlite(source, "mode=ro")) as old,
            contextlib.closing(sqlite3.connect(temporary)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
        temporary.replace(target)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot copy the store {label} to {target}: {error}", hint="choose another place"
        ) from error


def vacuum(location: str) -> tuple[int, int]:
    """Give the space of deleted rows back; return the bytes of the file before and after.

    Raises:
        UsageError: the store lies on a server.
        StoreError: it is no store, or cannot be written.
    """
    place = Location.parse(location)
    if place.path is None:
        raise UsageError(
            f"{place.label} lies on a server, which does that by itself",
            hint="see autovacuum in the manual of PostgreSQL",
        )
    open_for_reading(location).close()
    before = place.path.stat().st_size
    database = open_for_writing(location)
    try:
        with (
            readable_errors(place.label),
            contextlib.closing(connect_sqlite(place.path, "mode=rw")) as connection,
        ):
            connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot vacuum the store {place.label}: {error}", hint="try again when it is idle"
        ) from error
    finally:
        database.close()
    return before, place.path.stat().st_size
