"""Where a store lies: a path of SQLite or the URL of a database server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from emabench.errors import NotFoundError, StoreError, StoreLostError, UsageError
from emabench.user_paths import home_path, is_folder

MISSING_HINT = "emabench run creates one; --db or EMABENCH_DB chooses another"
_EXAMPLE = "postgresql://user@host/name"
_OTHER_HINT = "--db or EMABENCH_DB chooses another store"
_POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")
"""What a URL may call it; the last one names the driver too."""
_SQLITE = ("sqlite", "sqlite+pysqlite")
_SMALLEST_SQLITE_FILE = 512
"""Bytes; SQLite takes a file of 1 byte for an empty database and would overwrite it."""


@dataclass(frozen=True)
class Location:
    """Either ``path`` (SQLite) or ``url`` (a server) is set; ``label`` names it without secrets."""

    label: str
    path: Path | None = None
    url: URL | None = None

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read a path or a URL.

        Raises:
            UsageError: the text is empty, is no URL although it has ``://``, or names a database
                in memory, none at all, or one that emabench does not know.
        """
        if not text.strip():
            raise UsageError("the store has no name", hint="for example --db results.db")
        if "://" not in text:
            return cls(text, path=home_path(text))
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise UsageError(
                "the URL of the store cannot be read",
                hint=f"for example sqlite:///results.db or {_EXAMPLE}",
            ) from None
        if url.get_backend_name() != "sqlite":
            return cls(_without_secrets(url), url=_server_url(url))
        if not url.database or url.database == ":memory:":
            raise UsageError("a store in memory would be lost", hint="for example --db results.db")
        _check_names_a_file(url)
        return cls(url.database, path=home_path(url.database))


def store_label(text: str) -> str:
    """Return what a store at a path or URL is called, without a password.

    Raises:
        UsageError: as for ``Location.parse``.
    """
    return Location.parse(text).label


def _server_url(url: URL) -> URL:
    """Return the URL of a PostgreSQL database, with the driver.

    Raises:
        UsageError: it names another kind of database, another driver, or no database.
    """
    if url.drivername not in _POSTGRESQL:
        raise UsageError(
            f"emabench cannot keep a store in {url.drivername}", hint=f"for example {_EXAMPLE}"
        )
    if "@" in (url.host or ""):  # the rest of a password: it must not be shown
        raise UsageError(
            "the URL of the store cannot be read", hint="write @ in a password as %40, / as %2F"
        )
    if not url.database:
        raise UsageError("the URL of the store names no database", hint=f"for example {_EXAMPLE}")
    return url.set(drivername=_POSTGRESQL[-1])


def _check_names_a_file(url: URL) -> None:
    """Raise where the URL of an SQLite store asks for more than a file.

    Raises:
        UsageError: it has options, another driver, or names a host or a user.
    """
    if url.query:  # ?mode=ro would be taken for read-only, and the store written all the same
        raise UsageError(
            f"the URL of an SQLite store takes no option {next(iter(url.query))!r}",
            hint=f"write {_SQLITE[0]}:///{url.database}; commands that only read never write",
        )
    if url.drivername not in _SQLITE or url.host or url.port or url.username or url.password:
        raise UsageError(
            "the URL of an SQLite store names a file and nothing else",
            hint="write three slashes for a relative path, four for an absolute one: "
            "sqlite:///results.db",
        )


def _without_secrets(url: URL) -> str:
    hidden = {name: "hidden" for name in url.query if "password" in name}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def check_readable(path: Path, label: str) -> None:
    """Raise unless a file lies at ``path`` that may be an SQLite database.

    The file is not opened: closing it again would drop the locks that this process holds on it
    through SQLite.

    Raises:
        NotFoundError: nothing is there, or an empty file.
        StoreError: a folder is there, or a file too small or forbidden to read.
    """
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise no_store(label) from None
    except OSError as error:
        raise StoreError(f"cannot reach {label}: {error.strerror}", hint=_OTHER_HINT) from None
    if is_folder(path):
        raise StoreError(f"{label} is a folder, not a store", hint=_OTHER_HINT)
    if not size:  # also while another process begins a store there
        raise no_store(label)
    if size < _SMALLEST_SQLITE_FILE:
        raise not_a_store(label)


def check_writable(path: Path, label: str) -> None:
    """Raise unless a store can be created or changed at ``path``.

    Raises:
        StoreError: the folder is missing or read-only, or the file is no store.
    """
    if not is_folder(path.parent):
        raise StoreError(
            f"cannot create the store {label}: its folder does not exist",
            hint=f"create it first: mkdir -p {path.parent}",
        )
    if size_of(path) > 0:
        check_readable(path, label)
    if is_folder(path):
        raise StoreError(f"{label} is a folder, not a store", hint=_OTHER_HINT)


def size_of(path: Path) -> int:
    """Return the bytes of a file, 0 where none is reached: others may remove it at any time."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def lost(label: str) -> StoreLostError:
    """Return the error for a store that was there, and is not any more."""
    return StoreLostError(
        f"the store {label} was deleted or replaced while it was in use",
        hint="put it back from a copy; checkpoints and weights are still in their folder",
    )


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one at the same path; None where none is."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def no_store(label: str) -> NotFoundError:
    """Return the error for a place where no store is."""
    return NotFoundError(f"there is no store at {label}", hint=MISSING_HINT)


def not_a_store(label: str) -> StoreError:
    """Return the error for a file that something else wrote."""
    return StoreError(f"{label} is not an emabench store", hint=_OTHER_HINT)


def not_writable(label: str) -> StoreError:
    """Return the error for a store that this user may not change."""
    return StoreError(
        f"cannot write the store {label}: the file or its folder is read-only",
        hint="choose a place that you can write to with --db or EMABENCH_DB",
    )
