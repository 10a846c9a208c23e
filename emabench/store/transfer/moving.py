"""Moving runs from store to store: exported to a bundle, imported from it, whole or not at all."""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import exc, func, insert, select
from sqlalchemy.orm import Session

from emabench.errors import DataError, EmabenchError, NotFoundError, UsageError
from emabench.records import ANY_RUN, JobKind, RunQuery, RunRecord
from emabench.store.connection.opening import open_for_reading, open_for_writing
from emabench.store.runs.environments import environment_id
from emabench.store.runs.labels import add_tags
from emabench.store.runs.points import write_points
from emabench.store.runs.reader import find_runs, named_run
from emabench.store.runs.studies import add_to_studies
from emabench.store.runs.study_looks import add_look, add_plan
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Result,
    StudyLookRow,
    StudyPlanRow,
)
from emabench.store.transfer.atomic_file import draft
from emabench.store.transfer.bundle import (
    BundledJob,
    BundledRun,
    BundleHead,
    bundle_head,
    bundle_lines,
    bundled_runs,
    damaged,
)

STANDARD_STREAM = Path("-")
"""Stands for stdout or stdin."""
_GZIP = b"\x1f\x8b"
"""How a compressed file begins, whatever its name."""
_LONGEST_LINE = 32 << 20
"""Bytes of one run; a long one has less than a fifth of them."""
_UNPACKED = 100
"""So many times as large a compressed bundle may become; runs become some five times as large."""
_SMALL = 1 << 20
"""Bytes that no bundle needs to account for."""
_LARGEST_PIPED = 4 << 30
"""Bytes; what comes from a pipe is kept on disk until it has been read."""


@dataclass(frozen=True)
class Export:
    """Ids of the runs that an export wrote, and of those that it left out."""

    written: tuple[str, ...]
    unfinished: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


def export_runs(
    location: str,
    file: Path,
    query: RunQuery = ANY_RUN,
    *,
    overwrite: bool = False,
) -> Export:
    """Write finished runs to a bundle; the file is compressed if its name ends in ``.gz``.

    The plans of their studies go along, and the looks that were taken.

    Args:
        location: path or URL of the store.
        file: replaced at once, when everything is written; ``-`` is stdout.
        query: the runs, smoke ones too.
        overwrite: whether the file may be there already.

    Raises:
        NotFoundError: there is no such run, or no run of the study.
        UsageError: a run that an id names is not finished or cannot be read, or the file is there.
        EmabenchError: the file cannot be written.
    """
    database = open_for_reading(location)
    try:
        with database.read() as session:  # one moment of the store, however long it takes
            chosen = exportable(_found(session, query), named=bool(query.ids))
            experiments = [named_run(session, run).experiment_id for run in chosen.written]
            with written(file, overwrite=overwrite, encoding="ascii") as stream:
                for line in bundle_lines(session, experiments):
                    stream.write(line + "\n")
    finally:
        database.close()
    return chosen


def import_runs(location: str, file: Path) -> tuple[list[str], list[str]]:
    """Read a bundle into a store, all of it or nothing.

    The store is not touched before the last line has been looked at: a slow pipe keeps nobody from
    writing to it, and a damaged bundle creates none.

    Args:
        location: path or URL of the store; created if it is not there.
        file: the bundle; ``-`` is stdin.

    Returns:
        Ids of the runs that were imported, and of those that the store held already.

    Raises:
        NotFoundError: there is no such file.
        DataError: the file is no bundle, damaged, or of a newer emabench.
    """
    with _source(file) as source:
        for _ in bundled_runs(_lines(source)):
            pass
        head = bundle_head(next(_lines(source)))
        database = open_for_writing(location)
        try:
            with database.write() as session:
                _insert_looks(session, head)
                return _insert_runs(session, bundled_runs(_lines(source)))
        finally:
            database.close()


def exportable(runs: Sequence[RunRecord], *, named: bool) -> Export:
    """Tell the finished runs from those that somebody may still work on, or nobody can read.

    Args:
        runs: of any kind.
        named: whether the user named each: then none may be left out.

    Raises:
        UsageError: a run that was named is not finished or cannot be read.
    """
    unfinished = [run.id for run in runs if not run.is_over]
    if named and unfinished:
        title = next(run.title for run in runs if run.id == unfinished[0])
        raise UsageError(f"{title} is not finished", hint="wait for it, or cancel it")
    unreadable = [run for run in runs if run.unreadable is not None and run.is_over]
    if named and unreadable:
        title, why = unreadable[0].title, unreadable[0].unreadable
        raise UsageError(f"{title}: its spec is damaged: {why}", hint="leave it out")
    lost = [run.id for run in unreadable]
    left = {*unfinished, *lost}
    whole = [run.id for run in runs if run.id not in left]
    return Export(tuple(whole), tuple(unfinished), tuple(lost))


def _found(session: Session, query: RunQuery) -> list[RunRecord]:
    runs = find_runs(session, query.with_smoke)
    # Separate evaluations belong to no study, nor do benches.
    if not query.ids and query.study is None:
        runs += find_runs(session, query, kind=JobKind.LINEAR_EVAL)
        runs += find_runs(session, query, kind=JobKind.BENCH)
    return runs


@contextmanager
def written(file: Path, *, overwrite: bool, encoding: str) -> Iterator[IO[str]]:
    """Give a stream to a file that is there whole or not at all; compressed if it ends in ``.gz``.

    Args:
        file: ``-`` is stdout.
        overwrite: whether the file may be there already.
        encoding: of its text.

    Raises:
        UsageError: the file is there, and may not be.
        EmabenchError: it cannot be written.
    """
    if file == STANDARD_STREAM:
        yield sys.stdout
        return
    try:
        with draft(file, overwrite=overwrite) as path, ExitStack() as stack:
            stream: IO[bytes] = stack.enter_context(path.open("wb"))
            if file.suffix == ".gz":
                packed = gzip.GzipFile(file.stem, "wb", fileobj=stream)
                stream = stack.enter_context(packed)  # type: ignore[arg-type]
            yield stack.enter_context(io.TextIOWrapper(stream, encoding=encoding, newline="\n"))
    except FileExistsError:
        raise UsageError(f"{file} exists", hint="overwrite it with --force") from None
    except OSError as error:
        raise EmabenchError(
            f"cannot write {file}: {error.strerror}", hint="choose another place with -o"
        ) from None


@contextmanager
def _source(file: Path) -> Iterator[IO[bytes]]:
    """Open a bundle such that it can be read twice; what comes from a pipe is kept meanwhile."""
    with ExitStack() as stack:
        try:
            piped = file == STANDARD_STREAM
            raw = sys.stdin.buffer if piped else stack.enter_context(file.open("rb"))
            if piped or not raw.seekable():
                kept = stack.enter_context(tempfile.TemporaryFile())
                _keep(raw, kept)
                raw = kept
        except FileNotFoundError:
            raise NotFoundError(
                f"there is no file {file}", hint="emabench export writes one"
            ) from None
        except OSError as error:
            raise DataError(
                f"cannot read {file}: {error.strerror}", hint="check its path"
            ) from None
        yield raw


def _keep(pipe: IO[bytes], file: IO[bytes]) -> None:
    """Copy a pipe to a file.

    Raises:
        DataError: it does not end.
    """
    while some := pipe.read(_SMALL):
        if file.tell() > _LARGEST_PIPED:
            raise DataError(
                f"more than {_LARGEST_PIPED >> 30} GiB came through the pipe",
                hint="write the bundle to a file and import that",
            )
        file.write(some)


def _lines(source: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a bundle, from its beginning.

    Raises:
        DataError: the bytes make no text, the compressed file is damaged, or more comes out of it
            than runs can be.
    """
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    packed = source.read(2) == _GZIP
    source.seek(0)
    stream: IO[bytes] = gzip.GzipFile(fileobj=source) if packed else source  # type: ignore[assignment]
    number, left = 1, max(_UNPACKED * size, _SMALL)
    try:
        # Decoded line by line: a damaged byte then belongs to its line.
        while line := stream.readline(min(_LONGEST_LINE, left) + 1):
            left -= len(line)
            if left < 0:
                raise damaged(number, f"the file unpacks to more than {_UNPACKED} times its size")
            if len(line) > _LONGEST_LINE:
                raise damaged(number, f"it is longer than {_LONGEST_LINE >> 20} MiB")
            yield line.decode("utf-8")
            number += 1
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(
            f"line {number} of the bundle cannot be read: {error}",
            hint="nothing was imported; copy it again",
        ) from None


def _insert_looks(session: Session, head: BundleHead) -> None:
    """Insert the plans of studies that have none here, and the looks that show something new.

    Before the runs: those that are here already are no runs of the plan.
    """
    for plan in head.plans:
        add_plan(session, StudyPlanRow(**plan.model_dump()))
    for look in head.looks:
        add_look(session, StudyLookRow(**look.model_dump()))


def _insert_runs(
    session: Session, runs: Iterable[tuple[int, BundledRun]]
) -> tuple[list[str], list[str]]:
    """Insert the runs that the store does not hold yet.

    Returns:
        Ids of the runs that were inserted, and of those that were there.

    Raises:
        DataError: a run contradicts what the store holds.
    """
    inserted: list[str] = []
    existing: list[str] = []
    for number, run in runs:
        try:
            try:
                new = _insert_once(session, run)
            except exc.IntegrityError:
                # On a server another process inserted the run, or its repeat, just now.
                new = _insert_once(session, run)
        except (exc.IntegrityError, exc.DataError) as error:
            raise damaged(number, str(error.orig).splitlines()[0]) from error
        (inserted if new else existing).append(run.jobs[0].id)
        session.expunge_all()
    return inserted, existing


def _insert_once(session: Session, run: BundledRun) -> bool:
    """Insert a run unless it is there; return whether it was not.

    It joins its studies anyway, and takes its tags; a note only where it has none.
    """
    known = session.get(Job, run.jobs[0].id)
    with session.begin_nested():
        if known is None:
            experiment = Experiment(**run.model_dump(exclude={"studies", "tags", "jobs"}))
            experiment.repeat = _free_repeat(session, run.fingerprint, run.repeat)
            session.add(experiment)
            session.flush()
            for job in run.jobs:
                _insert_job(session, experiment.id, job)
        of = experiment.id if known is None else known.experiment_id
        add_to_studies(session, of, run.studies)
        add_tags(session, of, run.tags)
        if known is not None and run.note is not None and known.experiment.note is None:
            known.experiment.note = run.note
            session.flush()
    return known is None


def _free_repeat(session: Session, fingerprint: str, wanted: int) -> int:
    """Return the number of the repeat, or the next one if the store has another run of it."""
    repeats = select(Experiment.repeat).where(Experiment.fingerprint == fingerprint)
    if session.scalar(repeats.where(Experiment.repeat == wanted)) is None:
        return wanted
    newest = select(func.max(Experiment.repeat)).where(Experiment.fingerprint == fingerprint)
    return session.scalars(newest).one() + 1


def _insert_job(session: Session, experiment_id: int, job: BundledJob) -> None:
    own = job.model_dump(exclude={"attempts", "metrics", "results"})
    session.add(Job(experiment_id=experiment_id, **own))
    session.flush()
    for each in job.attempts:
        where = each.environment and EnvironmentRow(**each.environment.model_dump())
        attempt = Attempt(
            job_id=job.id,
            environment_id=where and environment_id(session, where),
            **each.model_dump(exclude={"environment", "cost"}),
        )
        session.add(attempt)
        session.flush()
        if each.cost is not None:
            session.add(Cost(attempt_id=attempt.id, **each.cost.model_dump()))
    write_points(session, job.id, [point.model_dump() for point in job.metrics])
    if job.results:
        rows = [{"job_id": job.id, **result.model_dump()} for result in job.results]
        session.execute(insert(Result), rows)
    session.flush()
