"""A data set by its spec, as uint8 arrays: the front door of everything that reads images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emabench.data.cache.image_cache import ImageCache, cache_folder
from emabench.data.cache.image_rows import Images, take
from emabench.data.sources.array_files import load_array_files
from emabench.data.sources.arrays import load_embedded
from emabench.data.sources.catalogue import DatasetInfo, built_in_datasets
from emabench.data.sources.folder import load_folder
from emabench.data.sources.plugged import DATASET_PLUGINS, list_datasets, load_plugged
from emabench.data.sources.shards.hugging_face import load_hugging_face
from emabench.data.sources.shards.webdataset import load_webdataset
from emabench.data.sources.source import Source
from emabench.data.sources.synthetic import load_synthetic
from emabench.data.sources.torchvision_sets import load_torchvision
from emabench.data.subset import chosen_rows
from emabench.errors import SpecError
from emabench.spec.data import DataSpec

__all__ = ["Dataset", "DatasetInfo", "ImageSet", "list_datasets", "load_dataset"]


@dataclass(frozen=True)
class ImageSet:
    """The images of one split."""

    images: Images
    """uint8 ``[N, S, S, 3]``, RGB: in memory, mapped into it, or decoded when asked for."""
    labels: np.ndarray
    """int64 ``[N]``."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> ImageSet:
        """Return some of the images; what is mapped or decoded late stays so.

        Args:
            rows: int64 ``[n]``.
        """
        return ImageSet(take(self.images, rows), self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """A data set that is ready to be trained on."""

    name: str
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them. None: the images have no labels."""
    image_size: int
    """Side of the images in pixels."""
    train: ImageSet
    test: ImageSet
    content_hash: str
    """Hex; of images and labels before subsets, wherever they lie and whatever size is asked."""
    split: str
    """How the test set came about: ``official``, ``test/``, ``val/``, ``seeded 20 % split``."""
    mean: tuple[float, float, float]
    """Mean of each channel over the whole training split of this data set, in 0..1; of a data
    set of image files (folder, shards, tables, flowers102, eurosat) over those of the subset."""
    std: tuple[float, float, float]
    """Standard deviation likewise; 1 for a channel that never changes."""
    revisions: tuple[str, ...] = ()
    """Names of the fixes that changed what is trained on; part of the identity of a run."""


def load_dataset(
    spec: DataSpec,
    *,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Load a data set: its images, kept as ``cache_mode`` says, then the subsets.

    Args:
        spec: which data set, its image size, and the subsets.
        cache_dir: folder for decoded images and downloads; None: the environment variable
            ``EMABENCH_CACHE``, else the user's cache folder.
        progress: called with the number of files done and of all files while a folder is read,
            and again while it is decoded.

    Raises:
        UnknownNameError: there is no data set, or no cache mode, of this name.
        PluginError: the plugin of the data set cannot be loaded.
        SpecError: ``data_dir`` is missing for a folder, or given where nothing reads it; so for
            ``white``.
        NotFoundError: the folder does not exist.
        DataError: the files are missing, damaged or make no data set, or a subset is larger
            than the data.
    """
    names = [info.name for info in built_in_datasets()]
    plugin = DATASET_PLUGINS.find(spec.dataset)
    if plugin is None and spec.dataset not in names:
        plugin = DATASET_PLUGINS.get(spec.dataset, lambda: names)
    _check_fields(spec)
    cache = ImageCache(cache_folder(cache_dir))
    if plugin is not None:
        source = load_plugged(spec, plugin.value, cache)
    elif spec.dataset == "folder":
        source = load_folder(spec, cache, progress)
    elif spec.dataset == "arrays":
        source = load_array_files(spec, cache)
    elif spec.dataset == "webdataset":
        source = load_webdataset(spec, cache, progress)
    elif spec.dataset == "hf":
        source = load_hugging_face(spec, cache, progress)
    elif spec.dataset == "synthetic":
        source = load_synthetic(spec)
    elif spec.dataset == "fashion-mini":
        source = load_embedded(spec, cache)
    else:
        source = load_torchvision(spec, cache, progress)
    return _finish(spec, source)


_ENCODED = ("folder", "webdataset", "hf", "flowers102", "eurosat")
_READ_BY = {
    "white": (_ENCODED, "16-bit grey images in files"),
    "label_column": (("webdataset", "hf"), "labels that could be in several places"),
    "image_column": (("hf",), "images that could be in several columns"),
}
"""Fields that only some data sets read, and what they are for."""


def _check_fields(spec: DataSpec) -> None:
    for field, (readers, purpose) in _READ_BY.items():
        value = getattr(spec, field)
        if value is not None and spec.dataset not in readers:
            raise SpecError(
                f"data.{field}={value} does not apply to {spec.dataset}",
                hint=f"leave it out: it is for {purpose}",
            )


def _finish(spec: DataSpec, source: Source) -> Dataset:
    train = ImageSet(source.train_images, source.train_labels)
    test = ImageSet(source.test_images, source.test_labels)
    return Dataset(
        name=spec.dataset,
        classes=source.classes,
        image_size=source.size,
        train=_subset(train, spec.train_subset, spec.subset_seed, "train"),
        test=_subset(test, spec.test_subset, spec.subset_seed, "test"),
        content_hash=source.content_hash,
        split=source.split,
        mean=source.statistics.mean,
        std=source.statistics.std,
        revisions=source.revisions,
    )


def _subset(whole: ImageSet, count: int | None, seed: int, split: str) -> ImageSet:
    rows = chosen_rows(whole.labels, count, seed, split)
    return whole if rows is None else whole.take(rows)
