"""Whether a store is sound: what must hold in any at any moment. And what makes its file small."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import String, and_, exists, func, or_, select, text, type_coerce
from sqlalchemy.orm import Session, aliased

from emabench.errors import StoreError, UsageError
from emabench.records import JobKind, JobState
from emabench.store.connection.location import Location
from emabench.store.connection.opening import open_for_reading, open_for_writing
from emabench.store.connection.sqlite import connect_sqlite
from emabench.store.runs.labels import LONGEST_NOTE, TAG
from emabench.store.runs.whole_runs import why_unreadable
from emabench.store.schema.tables import (
    LONGEST_TAG,
    Attempt,
    Experiment,
    Job,
    Result,
    RunTag,
    Series,
)


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
            return [*_damage(session), *_broken_invariants(session)]
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


def _broken_invariants(session: Session) -> list[str]:
    """Return a line for each invariant that a job, run or attempt breaks."""
    unknown = [
        *_words(session, "job", Job.id, Job.state, JobState),
        *_words(session, "job", Job.id, Job.kind, JobKind),
        *_words(session, "an attempt at job", Attempt.job_id, Attempt.state, JobState),
    ]
    if unknown:  # the rest reads those words, and could not
        return unknown
    return [
        *_running(session),
        *_numbers(session),
        *_ends(session),
        *_dependencies(session),
        *_shapes(session),
        *_results(session),
        *_specs(session),
        *_labels(session),
    ]


def _words(session: Session, what: str, key: Any, column: Any, known: type[StrEnum]) -> list[str]:
    """A state or kind is one of the words that there are."""
    word = type_coerce(column, String)
    rows = session.execute(select(key, word).where(word.not_in([str(each) for each in known])))
    return [f"{what} {row[0]} has an unknown {column.key}, {row[1]!r}" for row in rows]


def _running(session: Session) -> list[str]:
    """A running job has one running attempt, that of its number; no other job has any."""
    running = select(Attempt.job_id, Attempt.number).where(Attempt.state == JobState.RUNNING)
    attempts: dict[str, list[int]] = {}
    for row in session.execute(running):
        attempts.setdefault(row.job_id, []).append(row.number)
    jobs = {
        row.id: row.attempt
        for row in session.execute(select(Job.id, Job.attempt).where(Job.state == JobState.RUNNING))
    }
    problems = [
        f"job {job} is running, but its running attempts are {attempts.get(job, [])}, not "
        f"[{number}]"
        for job, number in jobs.items()
        if attempts.get(job) != [number]
    ]
    stray = sorted(set(attempts) - set(jobs))
    return problems + [f"job {job} is not running, but an attempt at it is" for job in stray]


def _numbers(session: Session) -> list[str]:
    """The attempts at a job are numbered from 1 to the number that the job says."""
    counted = (
        select(Job.id, Job.attempt, func.count(Attempt.id), func.max(Attempt.number))
        .outerjoin(Attempt, Attempt.job_id == Job.id)
        .group_by(Job.id, Job.attempt)
    )
    return [
        f"job {job} counts {number} attempts, but the store has {count}, the last with "
        f"number {last}"
        for job, number, count, last in session.execute(counted)
        if (number, number) != (count, last or 0)
    ]


def _ends(session: Session) -> list[str]:
    """The newest attempt at a done job is done, and did the work."""
    newest = and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt)
    query = (
        select(Job.id, Attempt.state)
        .join(Attempt, newest)
        # A running one is a problem of its own.
        .where(Job.state == JobState.DONE, Attempt.state.not_in((JobState.DONE, JobState.RUNNING)))
    )
    return [
        f"job {job} is done, but its newest attempt is {state}"
        for job, state in session.execute(query)
    ]


def _dependencies(session: Session) -> list[str]:
    """What a done or running job needs is done."""
    needed = aliased(Job)
    query = (
        select(Job.id, Job.state, needed.id, needed.state)
        .join(needed, needed.id == Job.depends_on)
        .where(Job.state.in_((JobState.DONE, JobState.RUNNING)), needed.state != JobState.DONE)
    )
    return [
        f"job {job} is {state}, but job {other}, which it needs, is {other_state}"
        for job, state, other, other_state in session.execute(query)
    ]


def _shapes(session: Session) -> list[str]:
    """A run begins with a pretraining, and its evaluations need the one of the same run.

    A separate evaluation is one job, which needs nothing; so is a bench.
    """
    first = select(Job.experiment_id).where(Job.position == 0, Job.kind == JobKind.PRETRAIN)
    needed, other = aliased(Job), aliased(Job)
    is_own = and_(
        Job.kind.in_((JobKind.LINEAR_EVAL, JobKind.BENCH)),
        Job.position == 0,
        Job.depends_on.is_(None),
        ~exists().where(other.experiment_id == Job.experiment_id, other.id != Job.id),
    )
    lost = session.scalars(
        select(Experiment.id).where(
            Experiment.id.not_in(first),
            Experiment.id.not_in(select(Job.experiment_id).where(is_own)),
        )
    )
    alone = (
        select(Job.id)
        .outerjoin(needed, needed.id == Job.depends_on)
        .where(
            Job.kind == JobKind.LINEAR_EVAL,
            ~is_own,
            or_(
                needed.id.is_(None),
                needed.kind != JobKind.PRETRAIN,
                needed.experiment_id != Job.experiment_id,
            ),
        )
    )
    return [
        *(f"experiment {row} has no pretraining" for row in lost),
        *(f"evaluation {job} needs no pretraining of its run" for job in session.scalars(alone)),
    ]


def _results(session: Session) -> list[str]:
    """Only a done job has results, and an evaluation that is done has some."""
    states = (
        select(Job.id, Job.state, Job.kind, func.count(Result.name))
        .outerjoin(Result, Result.job_id == Job.id)
        .group_by(Job.id, Job.state, Job.kind)
    )
    problems = []
    for job, state, kind, count in session.execute(states):
        if count and state is not JobState.DONE:
            problems.append(f"job {job} is {state} and has results")
        if not count and state is JobState.DONE and kind is JobKind.LINEAR_EVAL:
            problems.append(f"evaluation {job} is done and has no results")
    untouched = select(Job.id).where(Job.attempt == 0)
    early = session.scalars(select(Series.job_id).where(Series.job_id.in_(untouched)).distinct())
    return problems + [f"job {job} was never tried and has metrics" for job in early]


def _specs(session: Session) -> list[str]:
    """The spec of every run can be read."""
    heads = (
        select(Job.id, Job.kind, Experiment.spec, Experiment.identity)
        .join(Experiment, Experiment.id == Job.experiment_id)
        .where(Job.position == 0)
        .order_by(Experiment.id)
    )
    found = (
        (row.id, why_unreadable(row.spec, row.identity, row.kind)) for row in session.execute(heads)
    )
    return [f"the spec of run {run} cannot be read: {why}" for run, why in found if why is not None]


def _labels(session: Session) -> list[str]:
    """A tag is a word, and a note has an end."""
    tags = session.scalars(select(RunTag.tag).distinct().order_by(RunTag.tag))
    wrong = [tag for tag in tags if not TAG.fullmatch(tag)]
    long = select(Experiment.id).where(func.length(Experiment.note) > LONGEST_NOTE)
    return [
        *(f"the tag {tag[:LONGEST_TAG]!r} is no word" for tag in wrong),
        *(f"the note of experiment {row} is too long" for row in session.scalars(long)),
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
            f"{place.label} is on a server, which does that by itself",
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
