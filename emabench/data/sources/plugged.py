"""Data sets from outside the package: a function that returns arrays, marked with ``@dataset``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from emabench.data.cache.image_cache import ImageCache
from emabench.data.places import given_path
from emabench.data.sources.arrays import ImageArrays, array_source
from emabench.data.sources.catalogue import DatasetInfo, built_in_datasets
from emabench.data.sources.source import Source
from emabench.errors import DataError, EmabenchError, SpecError
from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import PluginKind
from emabench.extensions.plugin_shelf import PluginShelf
from emabench.spec.data import DataSpec

_SIZES = range(8, 1025)


@dataclass(frozen=True)
class PluggedDataset:
    """A data set of a plugin; ``dataset`` makes one of a function.

    Attributes:
        read: returns the images.
        reads_dir: whether it takes the folder ``data.data_dir``.
        licence: of the images.
    """

    read: Callable[..., ImageArrays]
    reads_dir: bool
    licence: str

    @property
    def description(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.read) or "").partition("\n")[0]


def dataset(*, licence: str) -> Callable[[Callable[..., ImageArrays]], PluggedDataset]:
    """Make a data set of a function, whose name is the name of the data set.

    The function takes nothing, or the folder of the user's ``data.data_dir`` (a ``Path``, or None
    where none is given), and returns ``ImageArrays``: always the same for the same files. emabench
    resizes, caches, normalises and hashes what it returns, and draws the subsets.

    Args:
        licence: of the images; ``emabench datasets`` shows it.

    Raises:
        TypeError: the function takes more than one argument.
    """

    def mark(function: Callable[..., ImageArrays]) -> PluggedDataset:
        count = len(inspect.signature(function).parameters)
        if count > 1:
            raise TypeError(f"the data set {function.__name__} takes {count} arguments, not 0 or 1")
        return PluggedDataset(function, count == 1, licence)

    return mark


def load_plugged(spec: DataSpec, found: PluggedDataset, cache: ImageCache) -> Source:
    """Return the data set of a plugin.

    Raises:
        SpecError: the spec names a folder, which this data set does not read.
        DataError: it cannot be read, or what it returns makes no data set.
    """
    if spec.data_dir is not None and not found.reads_dir:
        raise SpecError(
            f"data_dir={spec.data_dir!r} is not read by {spec.dataset}",
            hint="for images of your own, set dataset=folder",
        )
    folder = None if spec.data_dir is None else given_path(spec.data_dir)
    try:
        given = _sound(found.read(*([folder] if found.reads_dir else [])), spec.dataset)
    except EmabenchError:
        raise
    except Exception as error:  # whatever its author did not think of
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"data set {spec.dataset}: its plugin fails: {type(error).__name__}: {reason}",
            hint="does it need data.data_dir? mend it, or ask its author",
        ) from error
    return array_source(given, spec, cache)


def _sound(given: Any, name: str) -> ImageArrays:
    """Return what a plugin gave as arrays that fit together.

    Raises:
        DataError: they do not.
    """
    reason = _why_not(given)
    if reason is not None:
        raise DataError(
            f"data set {name}: its plugin gives {reason}",
            hint="emabench.plugin.ImageArrays says what it has to be",
        )
    train, test = (
        (np.asarray(images), np.asarray(labels, dtype=np.int64))
        for images, labels in (given.train, given.test)
    )
    return ImageArrays(tuple(map(str, given.classes)), train, test)


def _why_not(given: Any) -> str | None:
    if not isinstance(given, ImageArrays):
        return f"a {type(given).__name__}, not ImageArrays"
    if len(given.classes) < 2:
        return f"{len(given.classes)} classes, and two are the fewest"
    sides = set()
    for split, pair in (("train", given.train), ("test", given.test)):
        if len(pair) != 2:
            return f"a {split} that is no pair of images and labels"
        images, labels = map(np.asarray, pair)
        if images.dtype != np.uint8:
            return f"{split} images of type {images.dtype}, not uint8"
        rgb = images.ndim == 4 and images.shape[3] == 3
        if not (images.ndim == 3 or rgb) or images.shape[1] != images.shape[2]:
            return f"{split} images of shape {images.shape}, not [N, S, S] or [N, S, S, 3]"
        if images.shape[1] not in _SIZES:
            return f"{split} images of {images.shape[1]} pixels: 8 to 1024 are possible"
        if not len(images):
            return f"no {split} images"
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            return f"{split} labels that are not one whole number for each image"
        if labels.min() < 0 or labels.max() >= len(given.classes):
            return f"{split} labels that are no index of the {len(given.classes)} classes"
        sides.add(images.shape[1])
    if len(sides) > 1:
        return f"training and test images of different sizes: {sorted(sides)}"
    return None


def list_datasets() -> list[DatasetInfo]:
    """Return every data set that can be named in a spec: built in, or of a plugin.

    A package that is installed says only the name of its data set; it is not imported for the rest.
    """
    listed = built_in_datasets()
    for entry in DATASET_PLUGINS.entries():
        if entry.problem is None:
            listed.append(_info(entry.name, entry.origin))
    return listed


def _info(name: str, origin: str) -> DatasetInfo:
    found = next(
        (each.value for each in DATASET_PLUGINS.named() if each.reference.name == name), None
    )
    return DatasetInfo(
        name=name,
        classes=None,
        train=None,
        test=None,
        image_size=None,
        source=f"plugin {origin}",
        licence="see its package" if found is None else found.licence,
        description="" if found is None else found.description,
    )


def _datasets_in(module: ModuleType, code: PluginCode) -> dict[str, PluggedDataset]:
    return {
        value.read.__name__: value
        for value in vars(module).values()
        if isinstance(value, PluggedDataset)
        and f"{value.read.__module__}.".startswith(f"{module.__name__}.")
    }


def _checked(value: object, name: str) -> PluggedDataset:
    if not isinstance(value, PluggedDataset):
        raise TypeError(f"{value!r} is no function marked with emabench.plugin.dataset")
    return value


DATASET_PLUGINS: PluginShelf[PluggedDataset] = PluginShelf(
    PluginKind.DATASET,
    is_taken=lambda name: name in {info.name for info in built_in_datasets()},
    members=_datasets_in,
    checked=_checked,
)
"""The data sets from outside the package."""
