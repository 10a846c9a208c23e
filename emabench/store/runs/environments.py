"""Environments of attempts: records in and out, and one row for all that are equal."""

from __future__ import annotations

from dataclasses import asdict, fields

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from emabench.records import Environment
from emabench.spec.fingerprint import fingerprint
from emabench.store.schema.tables import EnvironmentRow


def environment_row(environment: Environment) -> EnvironmentRow:
    """Return the row of an environment; equal environments have equal hashes."""
    values = asdict(environment)
    values["versions"] = dict(environment.versions)
    return EnvironmentRow(hash=fingerprint(values), **values)


def environment_of(row: EnvironmentRow) -> Environment:
    """Return the environment of a row."""
    return Environment(**{f.name: getattr(row, f.name) for f in fields(Environment)})


def environment_id(session: Session, row: EnvironmentRow) -> int:
    """Return the id of the row that equals a new one; inserts that where there is none."""
    known = select(EnvironmentRow.id).where(EnvironmentRow.hash == row.hash)
    known = known.with_for_update(read=True, key_share=True)  # so that nobody deletes it now
    found = session.scalar(known)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process inserted the same environment just now
        return session.scalars(known).one()
    return row.id


class KnownEnvironments:
    """The environments that attempts name, each read once: machines are few."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[int, Environment] = {}

    def get(self, id: int | None) -> Environment | None:
        """Return the environment of the row of an id; None stays unknown."""
        if id is None:
            return None
        if id not in self._known:
            self._known[id] = environment_of(self._session.get_one(EnvironmentRow, id))
        return self._known[id]
