"""Bringing an older store to the newest schema: all of it, or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from emabench.errors import EmabenchError, StoreError, UsageError
from emabench.store.connection.database import WRITES, readable_errors
from emabench.store.connection.location import Location
from emabench.store.connection.opening import check_contents, engine_to_read
from emabench.store.connection.postgresql import lock_schema, server_engine
from emabench.store.connection.sqlite import (
    connect_sqlite,
    end_wal,
    sqlite_engine,
    undo_half_done,
)
from emabench.store.schema import tables
from emabench.store.schema.version import check_version, is_older, migrate, version_of
from emabench.store.transfer.copying import copy_sqlite


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        before: schema version that was found.
        after: schema version that the store has now.
        backup: copy of the store as it was; None where none was made.
        on_server: whether the store lies on a server, where no copy is made.
    """

    before: str
    after: str
    backup: Path | None
    on_server: bool


def upgrade(location: str, *, backup: bool) -> Upgrade:
    """Bring a store to the newest schema; whatever goes wrong leaves it as it was.

    Nobody else writes to it meanwhile, and of several upgrades at once one does the work.

    Args:
        location: path or URL.
        backup: whether to keep a copy of an older file beside it.

    Raises:
        NotFoundError: nothing is there.
        UsageError: the copy would overwrite a file.
        StoreError: it is no store, a newer one, or the migration failed.
    """
    place = Location.parse(location)
    before, copy = tables.SCHEMA_REVISION, None
    if place.path is not None:
        undo_half_done(place.path)  # of an upgrade that was killed
    if _is_older(place):
        engine = _engine(place)
        try:
            with readable_errors(place.label), engine.connect() as connection:
                connection = connection.execution_options(**{WRITES: True})
                with connection.begin():
                    lock_schema(connection)
                    before = str(version_of(connection))
                    if is_older(before):  # else somebody else did it just now
                        copy = _kept_copy(place, before) if backup else None
                        _migrate(connection, place.label)
        except BaseException:
            # A copy of a store that is as it was would only stop the next try.
            with contextlib.suppress(EmabenchError):
                if copy is not None and _is_older(place):
                    copy.unlink()
            raise
        finally:
            engine.dispose()
        if place.path is not None:
            end_wal(place.path)
    return Upgrade(before, tables.SCHEMA_REVISION, copy, place.url is not None)


def _is_older(place: Location) -> bool:
    """Look whether a store can be upgraded; nothing is changed.

    Raises:
        NotFoundError: nothing is there.
        StoreError: it is no store, or a newer emabench wrote it.
    """
    engine = engine_to_read(place)
    try:
        with readable_errors(place.label), engine.connect() as connection:
            check_contents(connection, place)
            older = is_older(version_of(connection))
            if not older:
                check_version(connection, place.label)
            return older
    finally:
        engine.dispose()


def _engine(place: Location) -> Engine:
    if place.url is not None:
        return server_engine(place.url, place.label)
    assert place.path is not None
    path = place.path

    def connect() -> sqlite3.Connection:
        connection = connect_sqlite(path, "mode=rw")
        # A table is rebuilt by dropping the old one, which other tables refer to.
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection

    return sqlite_engine(connect)


def _kept_copy(place: Location, version: str) -> Path | None:
    """Copy a file as it is, under the name of its version; a server keeps copies of its own."""
    if place.path is None:
        return None
    copy = place.path.with_name(f"{place.path.name}.{version}.bak")
    if copy.exists():
        raise UsageError(f"{copy} exists", hint="move it away, or keep no copy with --no-backup")
    copy_sqlite(place.path, copy, place.label, overwrite=False)
    return copy


def _migrate(connection: Connection, label: str) -> None:
    """Migrate, and look for rows that refer to nothing before it counts."""
    try:
        migrate(connection)
    except Exception as error:  # what a migration stumbles over in a damaged row can be anything
        said = error.orig if isinstance(error, DBAPIError) else error
        raise StoreError(
            f"the store {label} cannot be upgraded: {type(said).__name__}: {said}",
            hint="it is unchanged; --debug shows the whole error",
        ) from error
    if connection.dialect.name == "sqlite":
        lost = connection.execute(text("PRAGMA foreign_key_check")).all()
        if lost:
            raise StoreError(
                f"the store {label} cannot be upgraded: {len(lost)} rows refer to nothing, "
                f"the first in {lost[0][0]}",
                hint="it is unchanged; restore it from a copy",
            )
