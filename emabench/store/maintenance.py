"""Keeping a store in order: is it sound, and no larger than it must be."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from emabench.errors import StoreError, UsageError
from emabench.store.invariants import broken_invariants
from emabench.store.location import Location
from emabench.store.opening import connect_sqlite, open_for_reading, open_for_writing


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
    counted: Counter[tuple[str, str]] = Counter()
    for table, number, needed, _ in session.execute(text("PRAGMA foreign_key_check")):
        if number is None:  # a table whose rows are their keys has no numbers
            counted[table, needed] += 1
        else:
            problems.append(f"row {number} of {table} refers to no row of {needed}")
    return problems + [
        f"{count} rows of {table} refer to no row of {needed}"
        for (table, needed), count in counted.items()
    ]


def vacuum(location: str) -> tuple[int, int]:
    """Give the space of deleted rows back; return the bytes of the files before and after.

    Raises:
        UsageError: the store lies on a server.
        NotFoundError: nothing is there.
        StoreError: it is no store, or cannot be written.
    """
    place = Location.parse(location)
    if place.path is None:
        raise UsageError(
            f"{place.label} lies on a server, which does that by itself",
            hint="see autovacuum in the manual of PostgreSQL",
        )
    open_for_reading(location).close()
    before = _size(place.path)
    database = open_for_writing(location)
    try:
        with contextlib.closing(connect_sqlite(place.path, "mode=rw")) as connection:
            connection.execute("VACUUM")
            # Others may have it open, so that its last writer is not this one.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot vacuum the store {place.label}: {error}", hint="try again when it is idle"
        ) from error
    finally:
        database.close()
    return before, _size(place.path)


def _size(path: Path) -> int:
    """Return the bytes of a file and of what writers have not moved into it yet."""
    log = path.with_name(f"{path.name}-wal")
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size + log.stat().st_size
    return path.stat().st_size
