"""PostgreSQL through psycopg 3. All that only a database server needs is here.

Every transaction says for itself what it needs, whatever the server's own defaults are: a reader
sees one snapshot and locks nothing; a writer locks the rows that it changes, no others.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from emabench.errors import StoreError, UnknownNameError
from emabench.store.connection.database import WRITES

_CONNECT_SECONDS = 10
_READS = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_CHANGES = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; "
    # A writer that hangs between two statements loses its locks before others lose patience.
    "SET LOCAL idle_in_transaction_session_timeout = '60s'; "
    "SET LOCAL lock_timeout = '90s'"
)
_SCHEMA_LOCK = 0x656D6162656E6368
"""Key of the lock on the schema as a whole: the name of the program in ASCII."""


def server_engine(url: URL, label: str) -> Engine:
    """Return an engine for a server; nothing is connected yet.

    Args:
        url: with the driver.
        label: what the user called the store.

    Raises:
        StoreError: the driver is not installed.
        UnknownNameError: PostgreSQL knows no such option.
    """
    settings: dict[str, Any] = {
        "fallback_application_name": "emabench",
        "client_encoding": "utf8",
        # A plan made for an empty queue would be kept for a long one.
        "prepare_threshold": None,
    }
    if "connect_timeout" not in url.query:
        settings["connect_timeout"] = _CONNECT_SECONDS
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=settings)
    except ImportError as error:
        raise StoreError(
            f"cannot connect to the store {label}: {str(error).splitlines()[0]}",
            hint="install the driver: pip install 'emabench[postgres]'",
        ) from None
    _check_options(url)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql(_CHANGES if writes else _READS)

    return engine


def _check_options(url: URL) -> None:
    """Raise where the URL has an option that is none of PostgreSQL's: the driver has others."""
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in url.query:
        if name not in known:
            raise UnknownNameError("option of a PostgreSQL URL", name, known)


def lock_schema(connection: Connection) -> None:
    """Let one process at a time look at the schema and change it, until its transaction ends.

    A no-op for SQLite, which has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
