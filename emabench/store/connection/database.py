"""An open database: transactions to read and to write, with errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from emabench.errors import StoreError, StoreUnreachableError
from emabench.store.connection.location import not_a_store, not_writable

WRITES = "emabench_writes"
"""Execution option that marks the connections of write transactions."""
AT_ONCE = 500
"""Values in one statement: databases bound their number."""
Value = TypeVar("Value")


class Database:
    """Hands out transactions; a database opened for reading refuses to write.

    Args:
        engine: connects to the database.
        label: what the user called the store.
        writable: whether it was opened for writing.
        on_close: runs once, after the last connection is gone.
        check: runs before each transaction; raises where the database is not there any more.
    """

    def __init__(
        self,
        engine: Engine,
        label: str,
        *,
        writable: bool,
        on_close: Callable[[], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.label = label
        self._check = check
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True}) if writable else None
        self._on_close = on_close

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that sees one consistent state.

        Raises:
            StoreError: the database cannot be read.
        """
        self._check()
        with readable_errors(self.label), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction to write; commits unless something is raised.

        SQLite has one writer at a time; a server locks the rows that are changed.

        Raises:
            StoreError: the store was opened for reading, or cannot be written.
        """
        if self._writer is None:
            raise StoreError(
                f"the store {self.label} was opened for reading", hint="open it with mode='write'"
            )
        self._check()
        with readable_errors(self.label), Session(self._writer) as session, session.begin():
            yield session

    def write_once(self, work: Callable[[Session], Value]) -> Value:
        """Write in a transaction what several processes may write first; the later looks again.

        Args:
            work: reads what is there, and inserts what is not.

        Raises:
            StoreError: the store was opened for reading, or cannot be written.
        """
        while True:
            try:
                with self.write() as session:
                    return work(session)
            except StoreError as error:
                if not isinstance(error.__cause__, IntegrityError):
                    raise

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None


def batches(values: Iterable[Value]) -> Iterator[list[Value]]:
    """Cut many values, such as ids, into as many as one statement may have."""
    rest = iter(values)
    while some := list(islice(rest, AT_ONCE)):
        yield some


@contextmanager
def readable_errors(label: str) -> Iterator[None]:
    """Turn what the driver complains about into one line with a hint.

    Raises:
        StoreError: anything that SQLAlchemy or the driver raised.
    """
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no reason"
        raise server_error(label, error) or store_error(label, reason) from error
    except SQLAlchemyError as error:
        raise store_error(label, str(error).splitlines()[0]) from error


def store_error(label: str, reason: str) -> StoreError:
    """Return the error that says in plain words what the driver said in its own."""
    said = reason.lower()
    if "not a database" in said:
        return not_a_store(label)
    if "readonly database" in said:
        return not_writable(label)
    if "database is locked" in said:
        return StoreError(
            f"the store {label} is locked by another process",
            hint="wait until it is done, or stop it; a network file system may not know locks",
        )
    if "malformed" in said:
        return StoreError(f"the store {label} is damaged: {reason}", hint="restore it from a copy")
    if "full" in said:
        return StoreError(f"cannot write the store {label}: {reason}", hint="free some disk space")
    return StoreError(f"the store {label} fails: {reason}", hint="--debug shows the whole error")


_GONE = ("is gone", "the same command goes on once the server is back")
_BY_CODE = {
    "08": _GONE,
    "25006": ("can only be read", "write to the primary server, not to a copy of it"),
    "28": ("refuses the login", "check user and password in the URL"),
    "3D": ("does not exist", "create an empty database first: createdb NAME"),
    "40": ("was changed by two commands at the same time", "run the command again"),
    "42501": (
        "may not be changed by this user",
        "let the user own the database: ALTER DATABASE name OWNER TO user",
    ),
    "53100": ("cannot be written", "free some disk space on the server"),
    "53300": ("has no connection left", "run fewer workers, or raise max_connections"),
    "55P03": ("is locked by another process", "wait until it is done, or stop it"),
    "57P": _GONE,
}
"""By the beginning of the SQLSTATE: what is the matter with the store, and a hint."""

_REFUSALS = {
    r"password authentication failed|no password supplied|pg_hba\.conf": "28",
    r'role ".*" (does not exist|is not permitted)': "28",
    r'database ".*" does not exist': "3D",
    r"too many (clients|connections)|remaining connection slots": "53300",
}
"""Codes by the words of a server that speaks English and refuses a connection."""


def server_error(label: str, error: DBAPIError) -> StoreError | None:
    """Return the error that says what a server said; None if it came from something else.

    Args:
        label: what the user called the store.
        error: as SQLAlchemy raised it.
    """
    said: Any = error.orig
    if not hasattr(said, "sqlstate"):
        return None
    code: str | None = said.sqlstate
    reason = _reason(str(said))
    known = _GONE if error.connection_invalidated else _known(code, reason)
    if known is not None:
        what, hint = known
        kind = StoreUnreachableError if known is _GONE else StoreError
        return kind(f"the store {label} {what}: {reason}", hint=hint)
    if code is None:
        return StoreUnreachableError(
            f"cannot connect to the store {label}: {reason}",
            hint="check host, port and database in the URL, and whether the server runs",
        )
    return StoreError(f"the store {label} fails: {reason}", hint="--debug shows the whole error")


def _known(code: str | None, reason: str) -> tuple[str, str] | None:
    if code is None:
        found = (refusal for words, refusal in _REFUSALS.items() if re.search(words, reason))
        code = next(found, "")
    return next((words for start, words in _BY_CODE.items() if code.startswith(start)), None)


def _reason(text: str) -> str:
    """Return the line that says why, without what the driver puts before it."""
    line = next(iter(text.strip().splitlines()), "no reason")
    return re.sub(r"^(.*FATAL: +|connection (failed|is bad): )", "", line)
