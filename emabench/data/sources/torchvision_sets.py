"""Data sets as torchvision leaves them on the disk, and downloads them."""

from __future__ import annotations

import contextlib
import pickle
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from emabench.data.cache.image_cache import ImageCache, locked
from emabench.data.sources.arrays import ImageArrays, array_source
from emabench.data.sources.source import Source
from emabench.errors import DataError
from emabench.spec.data import DataSpec

_STALL_SECONDS = 30.0

_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    pickle.UnpicklingError,
)
"""What torchvision raises where files are missing, damaged, or cannot be downloaded."""

_TORCHVISION: dict[str, tuple[Any, str]] = {
    "fashion_mnist": (datasets.FashionMNIST, "FashionMNIST/raw/*-ubyte.gz"),
    "cifar10": (datasets.CIFAR10, "cifar-10-python.tar.gz"),
    "cifar100": (datasets.CIFAR100, "cifar-100-python.tar.gz"),
}
"""The class that reads each data set, and where below ``data_dir`` its download lies."""


def load_torchvision(spec: DataSpec, cache: ImageCache) -> Source:
    """Return a data set of torchvision, downloaded where it is missing.

    Raises:
        DataError: it is neither there nor can be downloaded, or its files are damaged.
    """
    reader, place = _TORCHVISION[spec.dataset]
    given = spec.data_dir
    folder = Path(given).expanduser() if given is not None else cache.folder / "downloads"
    try:
        train, test = _read_quietly(reader, folder)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{spec.dataset} is not in {folder}, or damaged there, "
            f"and cannot be downloaded: {reason}",
            hint=f"put {place} into that folder (or name another by data_dir) and remove what "
            "was unpacked from a damaged one, or use dataset=fashion-mini or dataset=folder, "
            "which need no download",
        ) from error
    classes = tuple(train.classes)
    arrays = ImageArrays(classes, _pixels(train), _pixels(test))
    for images, labels in (arrays.train, arrays.test):
        if len(images) != len(labels) or not np.isin(labels, np.arange(len(classes))).all():
            raise DataError(
                f"{spec.dataset} in {folder} is damaged: {len(images)} images, {len(labels)} "
                f"labels in {len(classes)} classes",
                hint=f"remove what was unpacked there and keep {place}, or let it be downloaded",
            )
    return array_source(arrays, spec, cache)


def _read_quietly(reader: Any, folder: Path) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # CIFAR's pickles were written by an old NumPy, which a new one remarks on per file.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        return _read_else_download(reader, folder)


def _read_else_download(reader: Any, folder: Path) -> tuple[Any, Any]:
    try:
        # First without a lock or a download: the folder may be complete and read-only.
        return reader(folder, train=True), reader(folder, train=False)
    except _UNREADABLE:
        with locked(folder / f"{reader.__name__}.lock"), _network_stalls_raise():
            return reader(folder, train=True, download=True), reader(folder, train=False)


@contextlib.contextmanager
def _network_stalls_raise() -> Iterator[None]:
    """Give downloads a time limit without data; torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _pixels(split: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(split.data), np.asarray(split.targets, dtype=np.int64)
