"""Copying a store that lies in a file, also while others write to it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from emabench.errors import StoreError, UsageError
from emabench.store.connection.location import Location
from emabench.store.connection.opening import open_for_reading
from emabench.store.connection.sqlite import reading_engine
from emabench.store.transfer.atomic_file import draft
from emabench.user_paths import is_there

_COMPANIONS = ("-wal", "-journal", "-shm")
"""How the names end of what SQLite puts beside a file in use, and reads back into it."""


def copy_store(
    location: str, target: Path, *, overwrite: bool, change: Callable[[Path], None] | None = None
) -> None:
    """Copy a store into one plain file, also while others write to it.

    Args:
        location: path or URL of SQLite.
        target: the file to write.
        overwrite: whether it may be there already.
        change: changes the copy before it takes its place.

    Raises:
        UsageError: the store lies on a server, or the file is there or in use.
        NotFoundError: there is no store.
        StoreError: it is no store, or the file cannot be written.
    """
    place = Location.parse(location)
    if place.path is None:
        raise UsageError(
            f"{place.label} is on a server, which has its own tools",
            hint="use pg_dump, or emabench export",
        )
    open_for_reading(location).close()
    if is_there(target) and target.samefile(place.path):
        raise UsageError(f"{target} is the store itself", hint="name another file")
    if is_there(target) and not overwrite:
        raise UsageError(f"{target} exists", hint="overwrite it with --force")
    copy_sqlite(place.path, target, place.label, overwrite=overwrite, change=change)


def copy_sqlite(
    source: Path,
    target: Path,
    label: str,
    *,
    overwrite: bool,
    change: Callable[[Path], None] | None = None,
) -> None:
    """Copy an SQLite file as it is at one moment; ``target`` is there whole or not at all.

    Raises:
        UsageError: the target is there and may not be, or another program has it open.
        StoreError: it cannot be written.
    """
    for end in _COMPANIONS:
        companion = target.with_name(target.name + end)
        if is_there(companion):
            raise UsageError(
                f"{target} is in use: {companion.name} is beside it",
                hint="choose another file; what was in use would spoil the copy",
            )
    engine = reading_engine(source, label)
    try:
        with draft(target, overwrite=overwrite) as file:
            with (
                contextlib.closing(engine.raw_connection()) as old,
                contextlib.closing(sqlite3.connect(file)) as new,
            ):
                original = old.driver_connection
                assert isinstance(original, sqlite3.Connection)
                original.backup(new)
                new.execute("PRAGMA journal_mode = DELETE")
            if change is not None:
                change(file)
    except FileExistsError:
        raise UsageError(f"{target} exists", hint="move it away, or name another file") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"cannot copy the store {label} to {target}: {error}",
            hint="choose another place, or free some disk space",
        ) from error
    finally:
        engine.dispose()
