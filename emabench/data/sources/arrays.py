"""Data sets that come as arrays: the embedded one, and those that torchvision downloads."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from emabench.data.cache.cache_mode import settle_mode
from emabench.data.cache.cached_images import keep
from emabench.data.cache.channels import ChannelStatistics, channel_statistics
from emabench.data.cache.image_cache import ImageCache, locked
from emabench.data.cache.image_rows import Images
from emabench.data.decode import DECODER, resize_arrays
from emabench.data.pool import in_pieces
from emabench.data.sources import fashion_mini
from emabench.data.sources.source import Source
from emabench.errors import DataError, SpecError
from emabench.spec.data import DataSpec

_PIECE = 512
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


@dataclass(frozen=True)
class ImageArrays:
    """A data set as arrays, before anything is done to it.

    Attributes:
        classes: names of the classes; a label is an index into them.
        train: images uint8 ``[N, S, S]`` (grey) or ``[N, S, S, 3]`` (RGB), S from 8 to 1024, and
            labels int64 ``[N]``.
        test: likewise, of the same size.
    """

    classes: tuple[str, ...]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @cached_property
    def content_hash(self) -> str:
        """Hex digits that identify classes, images and labels."""
        digest = hashlib.blake2b(repr(self.classes).encode(), digest_size=16)
        for images, labels in (self.train, self.test):
            digest.update(f"{images.shape}".encode())
            digest.update(np.ascontiguousarray(images).data)
            digest.update(labels.data)
        return digest.hexdigest()

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Mean and spread of each channel over the training images."""
        return channel_statistics(_to_rgb(self.train[0]))


def load_embedded(spec: DataSpec, cache: ImageCache) -> Source:
    """Return fashion-mini.

    Raises:
        SpecError: the spec names a folder, which this data set does not read.
    """
    if spec.data_dir is not None:
        raise SpecError(
            f"data_dir={spec.data_dir!r} does not apply to {spec.dataset}",
            hint="for your own images, set dataset=folder",
        )
    return array_source(_embedded(), spec, cache)


@lru_cache(maxsize=1)
def _embedded() -> ImageArrays:
    # Every run of a grid is resolved with its images, and those of the package stay the same.
    read = fashion_mini.read_split
    return ImageArrays(fashion_mini.CLASSES, read("train"), read("test"))


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


def array_source(arrays: ImageArrays, spec: DataSpec, cache: ImageCache) -> Source:
    """Return arrays as a data set of the size that the spec asks for, with its content hash."""
    splits = (arrays.train[0], arrays.test[0])
    size = spec.image_size or splits[0].shape[1]
    train: Images
    test: Images
    if size == splits[0].shape[1]:
        train, test = _to_rgb(splits[0]), _to_rgb(splits[1])
        statistics = arrays.statistics
    else:
        names = [f"{arrays.content_hash}-{split}" for split in ("train", "test")]
        (train, statistics), (test, _) = _resized(splits, size, names, cache)
    return Source(
        classes=arrays.classes,
        size=size,
        train_images=train,
        train_labels=arrays.train[1].copy(),
        test_images=test,
        test_labels=arrays.test[1].copy(),
        statistics=statistics,
        content_hash=arrays.content_hash,
        split="official",
    )


def _to_rgb(images: np.ndarray) -> np.ndarray:
    return np.repeat(images[..., None], 3, axis=3) if images.ndim == 3 else images


def _resized(
    splits: Sequence[np.ndarray], size: int, names: Sequence[str], cache: ImageCache
) -> list[tuple[Images, ChannelStatistics]]:
    """Return the splits as RGB of another size, which alone is worth caching."""
    keys = [
        hashlib.blake2b(f"{name}/{size}/{DECODER}".encode(), digest_size=16).hexdigest()
        for name in names
    ]
    shapes = [(len(images), size, size, 3) for images in splits]
    mode = settle_mode(
        3 * size**2 * sum(map(len, splits)),
        folder=cache.folder,
        is_cached=all(map(cache.find, keys, shapes)),
    )
    pieces = [partial(_resizing, images, size) for images in splits]
    return [keep(cache, mode, *each) for each in zip(keys, shapes, pieces, strict=True)]


def _resizing(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return in_pieces(
        lambda start, stop: _to_rgb(resize_arrays(images[start:stop], size)), len(images), _PIECE
    )
