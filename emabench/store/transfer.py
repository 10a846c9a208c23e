"""Exporting runs of a store to a file, and importing them into another one."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from emabench.errors import DataError, EmabenchError, NotFoundError
from emabench.store.bundle import bundle_lines, read_bundle
from emabench.store.opening import open_for_reading, open_for_writing
from emabench.store.reader import experiment_of

STANDARD_STREAM = Path("-")
"""Stands for stdout or stdin."""


def export_runs(location: str, run_ids: Sequence[str], file: Path) -> None:
    """Write runs to a bundle; the file is compressed if its name ends in ``.gz``.

    Args:
        location: path or URL of the store.
        run_ids: complete ids, in the order in which they are written.
        file: replaced at once, when everything is written; ``-`` is stdout.

    Raises:
        NotFoundError: there is no such run.
        EmabenchError: the file cannot be written.
    """
    database = open_for_reading(location)
    try:
        with database.read() as session, _written(file) as stream:
            experiments = [experiment_of(session, run) for run in run_ids]
            for line in bundle_lines(session, experiments):
                stream.write(line + "\n")
    finally:
        database.close()


def import_runs(location: str, file: Path) -> tuple[list[str], list[str]]:
    """Read a bundle into a store, all of it or nothing.

    Args:
        location: path or URL of the store; created if it is not there.
        file: the bundle; ``-`` is stdin.

    Returns:
        Ids of the runs that were imported, and of those that the store held already.

    Raises:
        NotFoundError: there is no such file.
        DataError: the file is no bundle, damaged, or of a newer emabench.
    """
    with _read(file) as stream:
        lines = _lines(stream)
        first = next(lines, "")
        if not first.startswith("{"):
            raise DataError(f"{file} is no bundle of runs", hint="emabench export writes one")
        database = open_for_writing(location)
        try:
            with database.write() as session:
                return read_bundle(session, _chained(first, lines))
        finally:
            database.close()


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _lines(stream: IO[str]) -> Iterator[str]:
    """Yield the lines of a stream.

    Raises:
        DataError: the bytes make no text, or the compressed file is damaged.
    """
    try:
        yield from stream
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(
            f"the bundle cannot be read to its end: {error}",
            hint="nothing was imported; copy it again",
        ) from None


@contextmanager
def _written(file: Path) -> Iterator[IO[str]]:
    if file == STANDARD_STREAM:
        yield sys.stdout
        return
    temporary = file.with_name(f"{file.name}.tmp")
    try:
        with _opened(temporary, "wt", compressed=file.suffix == ".gz") as stream:
            yield stream
        temporary.replace(file)
    except OSError as error:
        raise EmabenchError(
            f"cannot write {file}: {error.strerror}", hint="choose another place with -o"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _read(file: Path) -> Iterator[IO[str]]:
    if file == STANDARD_STREAM:
        yield sys.stdin
        return
    try:
        with file.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        opened = _opened(file, "rt", compressed=compressed)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", hint="emabench export writes one") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}", hint="check its path") from None
    with opened as stream:
        yield stream


def _opened(file: Path, mode: Literal["rt", "wt"], *, compressed: bool) -> IO[str]:
    if compressed:
        return gzip.open(file, mode, encoding="utf-8")
    return file.open(mode, encoding="utf-8")
