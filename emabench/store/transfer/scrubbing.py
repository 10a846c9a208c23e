"""A copy of a store to be published: it does not tell on which machines, and where, it was made."""

from __future__ import annotations

import contextlib
import getpass
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import String, cast, delete, select, text, update
from sqlalchemy.orm import Session

from emabench.store.connection.database import Database
from emabench.store.connection.sqlite import connect_sqlite, sqlite_engine
from emabench.store.runs.environments import environment_of, environment_row
from emabench.store.schema.tables import (
    Attempt,
    EnvironmentRow,
    Experiment,
    Job,
    RunTag,
    StoreTable,
    host_name,
)
from emabench.store.transfer.copying import copy_store

_TEXTS: list[Any] = [
    Experiment.name, Experiment.note, Experiment.command, Experiment.warnings,
    Job.reason, Attempt.reason,
]  # fmt: skip
_VALUES: list[Any] = [Experiment.spec, Experiment.identity]
"""Columns whose text is free, and those of values, of which only whole ones are paths."""
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"`<>|]+")
_ROOT = r"(?:~[\w.-]*[/\\]|[A-Za-z]:[/\\]|\\\\|/)"
"""How a path begins that means the same from every folder: also a home, a drive, a share."""
_QUOTED = re.compile(rf"(?<=(['\"`]))({_ROOT}[^'\"`\n]+)(?=\1)")
_BARE = re.compile(rf"(?<![\w.~/\\-]){_ROOT}[^\s'\"`,;:()\[\]{{}}<>|]+")
_ABSOLUTE = re.compile(rf"{_ROOT}[^\n]*|{_URL.pattern}")
_HOME = re.compile(r"[/\\](?:home|Users)[/\\]+([^/\\\s'\"`,;:()]+)")
_PROCESS = re.compile(r"\b(pid|process)([ =:]+)\d+", re.IGNORECASE)
_NOBODY = {"root", "user", "users", "localhost"}
"""Names that tell nothing, and that texts use as words."""
_SHORTEST = 3
"""Letters of a user's name that is looked for in texts: a shorter one would be part of anything."""


def scrub_store(location: str, target: Path, *, overwrite: bool) -> dict[str, int]:
    """Copy a store into one plain file without hosts, users, paths and processes.

    Figures, specs, fingerprints, versions, devices, times, names of studies: all else stays.

    Args:
        location: path or URL of SQLite.
        target: the file to write; it is there scrubbed, or not at all.
        overwrite: whether it may be there already.

    Returns:
        How many different ``hosts``, ``users`` and ``paths`` were replaced.

    Raises:
        UsageError: the store lies on a server, or the file is there or in use.
        NotFoundError: there is no store.
        StoreError: it is no store, or the file cannot be written.
    """
    names = NeutralNames()
    copy_store(location, target, overwrite=overwrite, change=lambda file: _scrub(file, names))
    return names.counts


def _scrub(file: Path, names: NeutralNames) -> None:
    engine = sqlite_engine(lambda: connect_sqlite(file, "mode=rw"))
    database = Database(engine, str(file), writable=True)
    try:
        with database.write() as session:
            _learn(session, names)
            for column in _TEXTS:
                _change(session, column, names.text)
            for column in _VALUES:
                _change(session, column, names.value)
            _change_tags(session, names)
            _hide_processes(session, names)
            _drop_samples(session)
    finally:
        database.close()
    with contextlib.closing(connect_sqlite(file, "mode=rw")) as connection:
        connection.execute("VACUUM")  # what was overwritten is still in the file otherwise


def _learn(session: Session, names: NeutralNames) -> None:
    for table in (Attempt, EnvironmentRow):
        for host in session.scalars(select(table.host).order_by(table.id)):
            names.learn_host(host_name(host))
    with contextlib.suppress(OSError, KeyError, ImportError):  # there may be no name for the id
        names.learn_user(getpass.getuser())
    for columns, learn in ((_VALUES, names.learn_value), (_TEXTS, names.learn_text)):
        for column in columns:
            key = column.class_.id
            for value in session.scalars(select(column).order_by(key)):
                _mapped(value, learn)
    for tag in session.scalars(select(RunTag.tag).distinct().order_by(RunTag.tag)):
        names.learn_text(tag)


def _change(session: Session, column: Any, change: Callable[[str], str]) -> None:
    """Change the texts in the values of a column."""
    table: type[StoreTable] = column.class_
    key = table.__table__.c.id
    known = select(key, column).where(column.is_not(None)).order_by(key)
    for id, value in session.execute(known).all():
        changed = _mapped(value, change)
        if changed != value:
            session.execute(update(table).where(key == id).values({column.key: changed}))


def _change_tags(session: Session, names: NeutralNames) -> None:
    """Change the tags, which are part of the key of their rows."""
    rows = session.execute(select(RunTag.tag, RunTag.experiment_id)).all()
    session.execute(delete(RunTag))
    changed = dict.fromkeys((names.text(tag), run) for tag, run in rows)
    session.add_all(RunTag(tag=tag, experiment_id=run) for tag, run in changed)
    session.flush()


def _hide_processes(session: Session, names: NeutralNames) -> None:
    """Hide who worked on attempts, and on which hosts."""
    session.execute(update(Attempt).values(pid=0, process_started=None))
    _change(session, Attempt.host, lambda place: names.host(host_name(place)))
    # Two hosts may change their names with each other, and no two rows may have one hash meanwhile.
    session.execute(update(EnvironmentRow).values(hash=cast(EnvironmentRow.id, String)))
    for row in session.scalars(select(EnvironmentRow)):
        row.host = names.host(row.host)
        # Whoever guesses the host could tell by the hash whether it is the one.
        row.hash = environment_row(environment_of(row)).hash


def _drop_samples(session: Session) -> None:
    """Drop what ANALYZE took from indexes: values of their columns, hosts too."""
    samples = "SELECT name FROM sqlite_master WHERE name IN ('sqlite_stat1', 'sqlite_stat4')"
    for name in session.scalars(text(samples)).all():
        session.execute(text(f"DROP TABLE {name}"))


class NeutralNames:
    """Gives neutral names; every name has to be known before the first text is changed."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._short_hosts: dict[str, str] = {}
        self._users: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._literal: dict[str, str] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many different ones there were, by ``hosts``, ``users`` and ``paths``."""
        known = {"hosts": self._hosts, "users": self._users, "paths": self._paths}
        return {what: len(names) for what, names in known.items()}

    def learn_host(self, name: str) -> None:
        """Know a host by its name; a text may name it by the first part of that."""
        neutral = self._hosts.setdefault(name, f"host-{len(self._hosts) + 1}")
        self._short_hosts.setdefault(name.partition(".")[0], neutral)

    def learn_user(self, name: str) -> None:
        """Know a user by name."""
        if len(name) >= _SHORTEST and name not in _NOBODY:
            self._users.setdefault(name, f"user-{len(self._users) + 1}")

    def learn_text(self, text: str) -> None:
        """Know the users whose homes a text names."""
        for name in _HOME.findall(text):
            self.learn_user(name)

    def learn_value(self, value: str) -> None:
        """Know a value that is a path as a whole; a text may name it with its spaces."""
        self.learn_text(value)
        if _ABSOLUTE.fullmatch(value):
            self._literal[value] = self._path(value)

    def host(self, name: str) -> str:
        """Return the neutral name of a host."""
        self.learn_host(name)
        return self._hosts[name]

    def value(self, value: str) -> str:
        """Return the neutral name of a value that is a path as a whole; any other as it is."""
        return self._path(value) if _ABSOLUTE.fullmatch(value) else value

    def text(self, text: str) -> str:
        """Return a text with all names replaced by neutral ones, and numbers of processes by 0."""
        text = _replaced(text, self._literal, before=r"(?<![\w./\\-])", after=r"(?![\w./\\-])")
        for pattern in (_URL, _QUOTED, _BARE):
            text = pattern.sub(lambda found: self._path(found[0]), text)
        for names in (self._short_hosts | self._hosts, self._users):
            text = _replaced(text, names, before=r"(?<![\w-])", after=r"(?![\w-])")
        return _PROCESS.sub(r"\g<1>\g<2>0", text)

    def _path(self, path: str) -> str:
        whole = path.rstrip(".")
        neutral = self._paths.setdefault(whole, f"path-{len(self._paths) + 1}")
        return neutral + path[len(whole) :]


def _replaced(text: str, names: dict[str, str], *, before: str, after: str) -> str:
    """Replace names by neutral ones, the longest first, where nothing goes on before or after."""
    if not names:
        return text
    longest_first = sorted(names, key=len, reverse=True)
    pattern = f"{before}(?:{'|'.join(map(re.escape, longest_first))}){after}"
    return re.sub(pattern, lambda found: names[found[0]], text)


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """Return nested plain values with each text in them changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    return value
