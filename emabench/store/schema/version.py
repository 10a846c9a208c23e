"""The version of a store: what it holds, whether this program fits it, and how it is made."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from emabench.errors import SchemaVersionError, StoreError
from emabench.store.schema import tables

if TYPE_CHECKING:
    from alembic.config import Config


class Contents(Enum):
    """What a database holds."""

    NOTHING = "nothing"
    STORE = "store"
    FOREIGN = "foreign"


def contents(connection: Connection) -> Contents:
    """Tell an empty database, a store of emabench, and somebody else's tables apart."""
    names = set(inspect(connection).get_table_names())
    if not names:
        return Contents.NOTHING
    ours = {"alembic_version", "experiments", "jobs", "attempts"} <= names
    return Contents.STORE if ours else Contents.FOREIGN


def check_version(connection: Connection, label: str) -> None:
    """Raise unless the store has the schema that this program reads and writes.

    Args:
        connection: an open connection to the store.
        label: what the user called the store, for the message.

    Raises:
        StoreError: there is no version row.
        SchemaVersionError: the version is another one; the hint names the command to run.
    """
    found = version_of(connection)
    if found == tables.SCHEMA_REVISION:
        return
    if found is None:
        raise StoreError(
            f"the store {label} has no version row", hint="a copy was cut short; use another one"
        )
    message = (
        f"the store {label} has schema version {found}, "
        f"this emabench works with {tables.SCHEMA_REVISION}"
    )
    if found in _known_revisions():
        raise SchemaVersionError(message, hint=f"bring it up to date: emabench db upgrade {label}")
    raise SchemaVersionError(
        message, hint="a newer emabench wrote it: pip install --upgrade emabench"
    )


def version_of(connection: Connection) -> str | None:
    """Return the schema version of a store; None if it has no version row."""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().first()
    return None if found is None else str(found)


def is_older(version: str | None) -> bool:
    """Whether a store of that version can be brought to the newest one."""
    return version != tables.SCHEMA_REVISION and version in _known_revisions()


def migrate(connection: Connection) -> None:
    """Bring an empty database or an older store to the newest schema, in the caller's transaction.

    Args:
        connection: a connection inside a write transaction; commits and rollbacks are the caller's.
    """
    from alembic import command

    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_alembic_config())
    return {revision.revision for revision in script.walk_revisions()}


def _alembic_config() -> Config:
    # Imported late: Alembic is slow to load, and a reader of a good store never needs it.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "emabench.store.schema:migrations")
    config.set_main_option("path_separator", "os")
    return config
