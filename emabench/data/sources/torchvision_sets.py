"""Data sets as torchvision leaves them on the disk: read without it reaching for the network.

What is unpickled has a checksum that torchvision knows, and is compared with it first.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from emabench.data.cache.image_cache import ImageCache, locked
from emabench.data.downloads import may_download, network_stalls_raise
from emabench.data.places import given_path
from emabench.data.sources.arrays import ImageArrays, SplitArrays, array_source, split_source
from emabench.data.sources.encoded import EncodedImages, load_encoded
from emabench.data.sources.folder import read_folder
from emabench.data.sources.manifest import Progress, read_facts
from emabench.data.sources.shards.labelled import LabelledImage, as_encoded
from emabench.data.sources.source import Source
from emabench.errors import DataError
from emabench.spec.data import DataSpec

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

_TRAIN_TEST = ("train", "test")
_DIGITS = tuple("0123456789")
_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
"""torchvision reads these names from a file without a checksum."""
_FLOWERS = tuple(f"{number:03}" for number in range(1, 103))
"""The classes have numbers in the files, and no names."""

_Read = Callable[..., Any]


def _parts(reader: Any, *, by: str, train: object, test: object) -> _Read:
    def read(folder: Path, **options: bool) -> tuple[Any, Any]:
        first = reader(folder, **{by: train}, **options)
        return first, reader(folder, **{by: test})

    return read


def _whole(reader: Any, **choice: object) -> _Read:
    return lambda folder, **options: (reader(folder, **choice, **options),)


@dataclass(frozen=True)
class _TorchvisionSet:
    """How torchvision reads a data set.

    Attributes:
        read: called with the folder, and ``download=True``; returns its training and test part.
        unpacked: a folder or file that is there once it is unpacked.
        archives: what is downloaded, below the folder, with its MD5: what is there is unpacked
            without a download.
        classes: their names, where torchvision has none.
    """

    read: _Read
    unpacked: str
    archives: tuple[tuple[str, str], ...]
    classes: tuple[str, ...] | None = None

    @property
    def place(self) -> str:
        """What has to lie below the folder, in words."""
        return ", ".join(name for name, _ in self.archives)

    def is_downloaded(self, folder: Path) -> bool:
        """Whether everything that would be downloaded is there, and whole."""
        return all(check_integrity(str(folder / name), md5) for name, md5 in self.archives)


_SETS = {
    "fashion_mnist": _TorchvisionSet(
        _parts(datasets.FashionMNIST, by="train", train=True, test=False),
        "FashionMNIST/raw",
        tuple((f"FashionMNIST/raw/{name}", md5) for name, md5 in datasets.FashionMNIST.resources),
    ),
    "cifar10": _TorchvisionSet(
        _parts(datasets.CIFAR10, by="train", train=True, test=False),
        "cifar-10-batches-py",
        ((datasets.CIFAR10.filename, datasets.CIFAR10.tgz_md5),),
    ),
    "cifar100": _TorchvisionSet(
        _parts(datasets.CIFAR100, by="train", train=True, test=False),
        "cifar-100-python",
        ((datasets.CIFAR100.filename, datasets.CIFAR100.tgz_md5),),
    ),
    "svhn": _TorchvisionSet(
        _parts(datasets.SVHN, by="split", train="train", test="test"),
        "train_32x32.mat",
        tuple((row[1], row[2]) for row in map(datasets.SVHN.split_list.__getitem__, _TRAIN_TEST)),
        _DIGITS,
    ),
    "stl10": _TorchvisionSet(
        _parts(datasets.STL10, by="split", train="train", test="test"),
        "stl10_binary",
        ((datasets.STL10.filename, datasets.STL10.tgz_md5),),
        _STL10,
    ),
    "stl10-unlabelled": _TorchvisionSet(
        _whole(datasets.STL10, split="unlabeled"),
        "stl10_binary",
        ((datasets.STL10.filename, datasets.STL10.tgz_md5),),
        (),
    ),
    "flowers102": _TorchvisionSet(
        _parts(datasets.Flowers102, by="split", train="train", test="test"),
        "flowers-102",
        tuple(
            (f"flowers-102/{name}", md5) for name, md5 in datasets.Flowers102._file_dict.values()
        ),
        _FLOWERS,
    ),
    "eurosat": _TorchvisionSet(
        _whole(datasets.EuroSAT),
        "eurosat/2750",
        (("eurosat/EuroSAT.zip", "c8fa014336c82ac7804f0398fcb19387"),),
    ),
}


def load_torchvision(spec: DataSpec, cache: ImageCache, progress: Progress | None = None) -> Source:
    """Return a data set of torchvision; it is downloaded only if the user allows it.

    Raises:
        DataError: it is not there, cannot be downloaded, or its files are damaged.
    """
    found = read_torchvision(spec.dataset, spec.data_dir, cache, progress)
    if isinstance(found, EncodedImages):
        return load_encoded(spec, found, cache, progress)
    if len(found.splits) == 1:
        return split_source(found, spec, cache)
    return array_source(ImageArrays(found.classes, *found.splits), spec, cache)


def read_torchvision(
    name: str, data_dir: str | None, cache: ImageCache, progress: Progress | None = None
) -> EncodedImages | SplitArrays:
    """Read a data set of torchvision: arrays, or the files that it lists.

    Raises:
        DataError: it is not there, cannot be downloaded, or its files are damaged.
    """
    known = _SETS[name]
    folder = cache.folder / "downloads" if data_dir is None else given_path(data_dir)
    try:
        parts = _read_quietly(known, folder)
    except _UNREADABLE as error:
        raise _missing(name, known, folder, error) from error
    if name == "eurosat":
        return read_folder(folder / "eurosat" / "2750", cache, progress)
    if name == "flowers102":
        return _flowers(parts, folder, cache, progress)
    classes = tuple(parts[0].classes) if known.classes is None else known.classes
    splits = tuple(map(_pixels, parts))
    for images, labels in splits:
        expected = np.arange(len(classes)) if classes else -1
        if len(images) != len(labels) or not np.isin(labels, expected).all():
            raise DataError(
                f"{name} in {folder} is damaged: {len(images)} images, {len(labels)} "
                f"labels in {len(classes)} classes",
                hint=f"remove what was unpacked there and keep {known.place}, or let "
                "'emabench run --download' fetch it again",
            )
    if not classes:
        splits = tuple((images, np.zeros_like(labels)) for images, labels in splits)
    return SplitArrays(classes, splits, "official", str(folder))


def torchvision_set_at(folder: Path) -> tuple[str, Path] | None:
    """Return which data set lies in a folder, downloaded or unpacked, and torchvision's root of it.

    The folder may be the root, or the one in it that torchvision makes; None: it is neither.
    """
    for name, known in _SETS.items():
        if any((folder / place).exists() for place in (known.unpacked, *dict(known.archives))):
            return name, folder
        own = Path(known.unpacked)
        if folder.name == own.parts[0] and (folder.parent / own).exists():
            return name, folder.parent
    return None


def _missing(name: str, known: _TorchvisionSet, folder: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    own = (
        f"put {known.place} into that folder (or name another by data_dir) and remove what was "
        "unpacked from a damaged one, or use dataset=fashion-mini or dataset=folder, which need "
        "no download"
    )
    if may_download():
        return DataError(
            f"{name} is not in {folder}, or damaged there, and cannot be downloaded: {reason}",
            hint=own,
        )
    return DataError(
        f"{name} is not in {folder}, or damaged there",
        hint=f"'emabench run --download' fetches it; or {own}",
    )


def _read_quietly(known: _TorchvisionSet, folder: Path) -> tuple[Any, ...]:
    # torchvision prints to where our data goes.
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        # CIFAR's pickles were written by an old NumPy, which a new one remarks on per file.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        return _read_else_download(known, folder)


def _read_else_download(known: _TorchvisionSet, folder: Path) -> tuple[Any, ...]:
    try:
        # First without a lock or a download: the folder may be complete and read-only.
        found: tuple[Any, ...] = known.read(folder)
    except _UNREADABLE:
        if not may_download() and not known.is_downloaded(folder):
            raise
        with locked(folder / "torchvision.lock"), network_stalls_raise():
            found = known.read(folder, download=True)
    return found


def _pixels(split: Any) -> tuple[np.ndarray, np.ndarray]:
    images = np.asarray(split.data)
    if images.ndim == 4 and images.shape[1] == 3:  # SVHN and STL-10: the channels come first
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    labels = split.targets if hasattr(split, "targets") else split.labels
    return images, np.asarray(labels, dtype=np.int64)


def _flowers(
    parts: tuple[Any, ...], folder: Path, cache: ImageCache, progress: Progress | None
) -> EncodedImages:
    root = folder / "flowers-102"
    files = [path for part in parts for path in part._image_files]
    labels = [label for part in parts for label in part._labels]
    facts = read_facts(root, files, cache.folder / "manifests", progress)
    images = [
        LabelledImage(path.name, _FLOWERS[label], str(path), fact)
        for path, label, fact in zip(files, labels, facts, strict=True)
    ]
    first = len(parts[0]._labels)
    return as_encoded(str(root), [images[:first], images[first:]], "official (val not used)")
