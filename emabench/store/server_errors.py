"""What a database server complains about, in plain words and with what to do about it.

A server speaks the language of its own system, so its codes count where there are any. A
connection that never came about has none.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.exc import DBAPIError

from emabench.errors import StoreError

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
        return StoreError(f"the store {label} {what}: {reason}", hint=hint)
    if code is None:
        return StoreError(
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
