"""New SQLite stores repeat what the migrations led to, instead of every step on the way there."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

_MADE = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"


def repeating(migrate: Callable[[Connection], None]) -> Callable[[Connection], None]:
    """Return a function that migrates the first empty database, and gives the others its schema.

    The migrations take ten times as long as the statements that they lead to, and most tests of a
    store need an empty one. ``emabench db upgrade``, other processes and servers migrate as ever.
    """
    statements: list[str] = []

    def make(connection: Connection) -> None:
        if connection.dialect.name != "sqlite":
            migrate(connection)
            return
        if not statements:
            migrate(connection)
            made = list(connection.exec_driver_sql(f"{_MADE} ORDER BY rowid").scalars())
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            statements.extend([*made, f"INSERT INTO alembic_version VALUES ('{version}')"])
            return
        for statement in statements:
            connection.exec_driver_sql(statement)

    return make
