"""What a folder, a file or a pattern of shards is taken for, and what a run would see of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emabench.data.cache.image_cache import ImageCache, cache_folder
from emabench.data.places import given_path, is_pattern
from emabench.data.sources.array_files import read_array_files
from emabench.data.sources.arrays import SplitArrays
from emabench.data.sources.encoded import EncodedImages
from emabench.data.sources.folder import read_folder
from emabench.data.sources.left_out import LeftOutWarning
from emabench.data.sources.requirements import native_size
from emabench.data.sources.shards.hugging_face import HUB, read_hugging_face
from emabench.data.sources.shards.webdataset import read_webdataset
from emabench.data.sources.torchvision_sets import read_torchvision, torchvision_set_at
from emabench.data.subset import drawn_test_part
from emabench.errors import DataError, NotFoundError
from emabench.spec.data import DataSpec

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


@dataclass(frozen=True)
class RecognisedData:
    """A data set that was looked at; its images are not decoded.

    Attributes:
        dataset: the name of its kind, as in a spec.
        data_dir: where it lies, as in a spec.
        classes: their names; none where there are no labels.
        train: number of training images.
        test: number of test images.
        split: how the test images come about.
        smallest: width and height of the image with the fewest pixels.
        largest: likewise, with the most.
        image_size: the side in pixels that all images get, unless a spec says another.
        left_out: what no run would see, a line for each reason.
        notes: what else a run would say of the files.
    """

    dataset: str
    data_dir: str
    classes: tuple[str, ...]
    train: int
    test: int
    split: str
    smallest: tuple[int, int]
    largest: tuple[int, int]
    image_size: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The words of the command that trains on it."""
        unlabelled = [] if self.classes else ["--set", "evaluation.enabled=false"]
        given = ["--dataset", self.dataset, "--data-dir", self.data_dir]
        return ["emabench", "run", *given, *unlabelled]


def recognise(
    place: str,
    *,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RecognisedData:
    """Look at a data set as a run would, without decoding any image.

    Args:
        place: a folder, a file, or a pattern of shards.
        cache_dir: as of ``load_dataset``.
        progress: called with the number of images read and of all.

    Raises:
        NotFoundError: there is no such place.
        DataError: a run would not work; says why.
    """
    cache = ImageCache(cache_folder(cache_dir))
    dataset, data_dir = _kind_of(place)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = _read(dataset, data_dir, cache, progress)
    labels, sizes = _labels_and_sizes(found)
    drawn, split = drawn_test_part(DataSpec(), found.classes, labels, found.split, found.place)
    test = len(labels[-1]) if drawn is None else int(drawn.sum())
    train = len(labels[0]) if drawn is None else len(drawn) - test
    said: dict[bool, list[str]] = {True: [], False: []}
    for warning in caught:
        said[issubclass(warning.category, LeftOutWarning)].append(str(warning.message))
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return RecognisedData(
        dataset=dataset,
        data_dir=data_dir,
        classes=found.classes,
        train=train,
        test=test,
        split=split,
        smallest=ordered[0],
        largest=ordered[-1],
        image_size=native_size(sizes),
        left_out=tuple(said[True]),
        notes=tuple(said[False]),
    )


def _kind_of(place: str) -> tuple[str, str]:
    """Return the name of the kind, and where exactly the data set lies."""
    if place.startswith(HUB):
        return "hf", place
    if is_pattern(place):
        return "webdataset", place
    path = given_path(place)
    if not path.exists():
        raise NotFoundError(f"{place}: there is no such file or folder", hint="check the path")
    if not path.is_dir():
        return _kind_of_file(path), place
    known = torchvision_set_at(path)
    if known is not None:
        return known[0], str(known[1])
    if _holds(path, "*.npy"):
        return "arrays", place
    if _holds(path, "*.tar", "*/*.tar"):
        return "webdataset", place
    if _holds(path, "*.parquet", "*/*.parquet", "data-*.arrow", "*/data-*.arrow"):
        return "hf", place
    return "folder", place


def _kind_of_file(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix in (".npz", ".npy"):
        return "arrays"
    if suffix == ".tar":
        return "webdataset"
    if suffix in (".parquet", ".arrow"):
        return "hf"
    if suffix in _PICKLES:
        raise DataError(
            f"{file}: a pickle, which could run anything and is not read",
            hint="save the images with np.savez, or as files in a folder per class",
        )
    raise DataError(
        f"{file}: no data set by itself",
        hint="name a folder of class folders, an .npz, .npy or Parquet file, or a .tar shard",
    )


def _holds(folder: Path, *patterns: str) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _read(
    dataset: str,
    data_dir: str,
    cache: ImageCache,
    progress: Callable[[int, int], None] | None,
) -> EncodedImages | SplitArrays:
    if dataset == "folder":
        return read_folder(given_path(data_dir), cache, progress)
    if dataset == "arrays":
        return read_array_files(given_path(data_dir))
    if dataset == "webdataset":
        return read_webdataset(data_dir, None, cache, progress)
    if dataset == "hf":
        return read_hugging_face(data_dir, None, None, cache, progress)
    return read_torchvision(dataset, data_dir, cache, progress)


def _labels_and_sizes(
    found: EncodedImages | SplitArrays,
) -> tuple[Sequence[np.ndarray], set[tuple[int, int]]]:
    if isinstance(found, EncodedImages):
        facts = (fact for split in found.splits for fact in split.facts)
        sizes = {(fact.width, fact.height) for fact in facts}
        return [split.labels for split in found.splits], sizes
    sizes = {(images.shape[2], images.shape[1]) for images, _ in found.splits}
    return [labels for _, labels in found.splits], sizes
