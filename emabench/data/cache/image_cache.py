"""Decoded images kept as memory-mapped uint8 arrays, found again by their content.

A cache entry is two files: ``KEY.npy`` and, written after it, ``KEY.json`` with its length, time,
checksum and channel statistics. Both are written beside their place and renamed into it; an
entry without a matching record is built again. One process builds while the others wait.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock

from emabench.data.cache.channels import ChannelHistogram, ChannelStatistics, channel_statistics
from emabench.user_paths import home_path

_FORMAT = 1
_BLOCK = 2**24

Pieces = Callable[[], Iterable[np.ndarray]]
"""Yields the images of an entry in order, uint8 ``[n, S, S, 3]`` at a time."""


def cache_folder(given: Path | None = None) -> Path:
    """Return the folder for everything that can be made again.

    Args:
        given: wins; else the environment variable ``EMABENCH_CACHE``, else the user's cache.
    """
    if given is not None:
        return given
    named = os.environ.get("EMABENCH_CACHE")
    return home_path(named) if named else Path(platformdirs.user_cache_dir("emabench"))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the lock file and its folder are made.

    Raises:
        OSError: the folder cannot be written, or cannot hold locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(f"{path.parent} cannot hold locks") from error
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, content: Iterable[bytes]) -> None:
    """Write a file so that others see either nothing or all of it.

    Args:
        path: where it goes; its folder is made.
        content: the bytes, piece by piece.

    Raises:
        OSError: the folder cannot be written or is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            # Plain writes: on a full disk they raise, where a memory map would kill the process.
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class ImageCache:
    """The decoded images of one cache folder.

    Args:
        folder: made when the first entry is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(
        self, key: str, shape: tuple[int, int, int, int], pieces: Pieces
    ) -> tuple[np.ndarray, ChannelStatistics]:
        """Return the images of an entry and their statistics, building it where it is missing.

        Where the folder cannot be written the images are built in memory, with a warning.

        Args:
            key: names the content, its stored form and the code that makes it.
            shape: ``(N, S, S, 3)``.
            pieces: makes the images.

        Returns:
            uint8 of this shape, read-only; and the statistics of all of it.
        """
        entry = self._entry(key)
        found = _read_entry(entry, shape)
        if found is not None:
            return found
        try:
            with locked(entry.with_suffix(".lock")):
                found = _read_entry(entry, shape)
                if found is None:
                    _remove_leftovers(entry)
                    _write_entry(entry, shape, pieces())
                    found = _read_entry(entry, shape)
        except OSError as error:
            warnings.warn(
                f"the image cache {self.folder} cannot be written ({error.strerror or error}): "
                "the images are decoded into memory, and will be again next time",
                RuntimeWarning,
                stacklevel=2,
            )
            found = None
        if found is not None:
            return found
        images = filled(shape, pieces())
        return images, channel_statistics(images)

    def find(
        self, key: str, shape: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, ChannelStatistics] | None:
        """Return an entry as ``load`` does, or None where it would have to be built."""
        return _read_entry(self._entry(key), shape)

    def _entry(self, key: str) -> Path:
        return self.folder / f"{key}.npy"


def filled(shape: tuple[int, int, int, int], pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Return an array in memory, uint8 and read-only, that holds the pieces in order."""
    images = np.empty(shape, dtype=np.uint8)
    done = 0
    for piece in pieces:
        images[done : done + len(piece)] = piece
        done += len(piece)
    images.flags.writeable = False
    return images


def _remove_leftovers(entry: Path) -> None:
    """Remove what a killed process left; the lock says that nobody is writing now."""
    for path in entry.parent.glob(f"{entry.stem}.*.tmp"):
        path.unlink(missing_ok=True)


def _write_entry(
    entry: Path, shape: tuple[int, int, int, int], pieces: Iterable[np.ndarray]
) -> None:
    histogram = ChannelHistogram()
    checksum = 0

    def content() -> Iterator[bytes]:
        nonlocal checksum
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        yield header.getvalue()
        for piece in pieces:
            histogram.add(piece)
            values = piece.tobytes()
            checksum = zlib.crc32(values, checksum)
            yield values

    write_atomically(entry, content())
    statistics = histogram.statistics()
    _write_record(entry, {"crc32": checksum, "mean": statistics.mean, "std": statistics.std})


def _write_record(entry: Path, facts: dict[str, Any]) -> None:
    status = entry.stat()
    times = {"format": _FORMAT, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    write_atomically(entry.with_suffix(".json"), [json.dumps(facts | times).encode()])


def _read_entry(
    entry: Path, shape: tuple[int, int, int, int]
) -> tuple[np.ndarray, ChannelStatistics] | None:
    """Return the entry, or None where it is missing, truncated, changed or foreign."""
    try:
        record = json.loads(entry.with_suffix(".json").read_bytes())
        status = entry.stat()
        if record["format"] != _FORMAT or record["bytes"] != status.st_size:
            return None
        images = np.load(entry, mmap_mode="r", allow_pickle=False)
        if images.shape != shape or images.dtype != np.uint8:
            return None
        # A file that was touched since (copied, or damaged) has to prove its content once.
        if record["mtime_ns"] != status.st_mtime_ns:
            if _crc32(images) != record["crc32"]:
                return None
            with contextlib.suppress(OSError):
                _write_record(entry, {name: record[name] for name in ("crc32", "mean", "std")})
        mean, std = (tuple(map(float, record[name])) for name in ("mean", "std"))
        return images, ChannelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _crc32(images: np.ndarray) -> int:
    flat = images.reshape(-1)
    checksum = 0
    for start in range(0, len(flat), _BLOCK):
        checksum = zlib.crc32(flat[start : start + _BLOCK].data, checksum)
    return checksum
