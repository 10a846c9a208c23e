"""The digest and size of each image file, remembered so that unchanged files are not read again.

A remembered fact holds while the file's length, modification time and status time are what they
were. Facts about files changed within two seconds before they were read are not remembered:
a second change could leave the same times.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeVar

from emabench.data.cache.image_cache import write_atomically
from emabench.data.decode import FileFacts, inspect
from emabench.data.pool import in_pieces
from emabench.errors import DataError

Known = TypeVar("Known")

_FORMAT = 2
SETTLED_NS = 2_000_000_000
_PIECE = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Known:
    stamp: list[int]
    facts: FileFacts


def stamp_of(status: os.stat_result) -> list[int]:
    """Return what a file had when it was read: its length, modification time and status time."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def is_settled(stamp: Sequence[int], read_at: int) -> bool:
    """Whether no second change of a file can have left the same times.

    Args:
        stamp: of the file.
        read_at: when it was read, in nanoseconds of ``time.time_ns``.
    """
    return max(stamp[1:]) < read_at - SETTLED_NS


@dataclass(frozen=True)
class Origin:
    """Files that something was read from: what follows from them need not be found out again.

    Attributes:
        files: their paths.
        stamps: what they had before they were read.
        read_at: when that was, in nanoseconds of ``time.time_ns``.
    """

    files: tuple[Path, ...]
    stamps: tuple[list[int], ...]
    read_at: int

    @classmethod
    def of(cls, files: Sequence[Path]) -> Origin:
        """Return the files as they are now, before they are read."""
        stamps = tuple(stamp_of(file.stat()) for file in files)
        return cls(tuple(files), stamps, time.time_ns())

    def once(
        self,
        what: str,
        folder: Path,
        find_out: Callable[[], list[Any]],
        read: Callable[[list[Any]], Known],
    ) -> Known:
        """Return what follows from the files, found out unless it is remembered.

        Args:
            what: names it, and all else that it follows from.
            folder: where plain values are kept; not writable is not an error.
            find_out: gives the plain values.
            read: makes of them what is wanted, or raises ValueError or TypeError.
        """
        places = [str(file.resolve()) for file in self.files]
        text = json.dumps([what, places])
        key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        record = folder / f"{key}.values.json"
        expected = {"format": _FORMAT, "stamps": list(self.stamps)}
        try:
            known = json.loads(record.read_bytes())
            values = known.pop("values")
            if known == expected:
                return read(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # it is found out again
        values = find_out()
        if all(is_settled(stamp, self.read_at) for stamp in self.stamps):
            with contextlib.suppress(OSError):
                write_atomically(record, [json.dumps({**expected, "values": values}).encode()])
        return read(values)


def read_facts(
    root: Path, paths: Sequence[Path], folder: Path, progress: Progress | None = None
) -> list[FileFacts]:
    """Return the facts of each file, reading only those that are new or changed.

    Args:
        root: the tree that the files lie in; names the manifest.
        paths: the files, in order.
        folder: where manifests are kept; not writable is not an error.
        progress: called with the number of files done and of all files.

    Raises:
        DataError: a file cannot be read, is empty, or does not begin like an image.
    """
    place = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=16).hexdigest()
    manifest = folder / f"{place}.json"
    known = _read_manifest(manifest)
    names = [path.relative_to(root).as_posix() for path in paths]
    facts: list[FileFacts] = []
    fresh: dict[str, _Known] = {}

    def work(start: int, stop: int) -> list[_Known]:
        return [_look(paths[i], known.get(names[i])) for i in range(start, stop)]

    now = time.time_ns()
    for piece in in_pieces(work, len(paths), _PIECE):
        for entry in piece:
            fresh[names[len(facts)]] = entry
            facts.append(entry.facts)
        if progress is not None:
            progress(len(facts), len(paths))
    settled = {
        name: entry
        for name, entry in fresh.items()
        if is_settled(entry.stamp, now) or known.get(name) == entry
    }
    if settled != known:
        _write_manifest(manifest, settled)
    return facts


def _look(path: Path, known: _Known | None) -> _Known:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror})", hint="is it a link to a missing file?"
        ) from error
    stamp = stamp_of(status)
    if known is not None and known.stamp == stamp:
        return known
    return _Known(stamp, inspect(path))


def _read_manifest(path: Path) -> dict[str, _Known]:
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != _FORMAT:
            return {}
        return {
            name: _Known([size, mtime, ctime], FileFacts(*facts))
            for name, (size, mtime, ctime, *facts) in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_manifest(path: Path, entries: dict[str, _Known]) -> None:
    files = {name: [*entry.stamp, *astuple(entry.facts)] for name, entry in entries.items()}
    content = json.dumps({"format": _FORMAT, "files": files}).encode()
    # Only a memory: where it cannot be kept the files are read again.
    with contextlib.suppress(OSError):
        write_atomically(path, [content])
