"""Data sets that are arrays: what becomes of them, and the one that is part of the package."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, TypeVar

import numpy as np

from emabench.data.cache.cache_mode import settle_mode
from emabench.data.cache.cached_images import keep
from emabench.data.cache.channels import ChannelHistogram, ChannelStatistics
from emabench.data.cache.image_cache import ImageCache
from emabench.data.cache.image_rows import Images, take
from emabench.data.decode import DECODER, CropRule, resize_arrays
from emabench.data.pool import in_pieces
from emabench.data.sources import fashion_mini
from emabench.data.sources.manifest import Origin
from emabench.data.sources.requirements import native_size, require_spread
from emabench.data.sources.source import Source
from emabench.data.subset import drawn_test_part
from emabench.errors import SpecError
from emabench.spec.data import DataSpec

_PIECE, _PIECE_BYTES = 512, 2**22
"""Images that a thread makes at a time, and their bytes: several pieces wait for each thread."""
_FOUND_OUT = "version 1"
"""Changes with what is found out of arrays, so that nothing earlier is remembered."""
Known = TypeVar("Known")


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
        return content_hash(self.classes, (self.train, self.test))

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Mean and spread of each channel over the training images."""
        return _statistics(self.train[0])


def content_hash(classes: tuple[str, ...], splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """Return hex digits that identify classes, images and labels, in the order that they have."""
    digest = hashlib.blake2b(repr(classes).encode(), digest_size=16)
    for images, labels in splits:
        digest.update(f"{images.shape}".encode())
        for start in range(0, len(images), _PIECE):
            digest.update(np.ascontiguousarray(images[start : start + _PIECE]).data)
        digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


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


def array_source(arrays: ImageArrays, spec: DataSpec, cache: ImageCache) -> Source:
    """Return arrays as a data set of the size that the spec asks for, with its content hash."""
    size = spec.image_size or arrays.train[0].shape[1]
    images = {"train": arrays.train[0], "test": arrays.test[0]}
    if size == arrays.train[0].shape[1]:  # they are held already, and kept so
        images = {name: _to_rgb(each) for name, each in images.items()}
    rows = _ArrayRows(images, arrays.content_hash, spec.crop)
    train, test, statistics = rows.at_size(size, cache, lambda: arrays.statistics)
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


@dataclass(frozen=True)
class SplitArrays:
    """Arrays of any size, which may have no labels or no test images.

    Attributes:
        classes: their names; none where there are no labels.
        splits: the training images and, where there are some, the test images: uint8 ``[N, H, W]``
            (grey) or ``[N, H, W, 3]``, and labels int64 ``[N]``. What is mapped stays mapped.
        split: how the test images came about; of no use without them.
        place: where they lie, for messages.
        origin: the files that they come from, where nothing else decides what they are.
    """

    classes: tuple[str, ...]
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    split: str
    place: str
    origin: Origin | None = None

    def known(
        self,
        what: str,
        cache: ImageCache,
        find_out: Callable[[], list[Any]],
        read: Callable[[list[Any]], Known],
    ) -> Known:
        """Return what follows from the arrays, which takes a pass over all of them."""
        if self.origin is None:
            return read(find_out())
        folder = cache.folder / "manifests"
        return self.origin.once(f"{what}, {_FOUND_OUT}", folder, find_out, read)


def _only_text(values: list[Any]) -> str:
    (text,) = values
    return str(text)


def _mean_and_std(values: list[Any]) -> ChannelStatistics:
    (r, g, b), (red, green, blue) = (map(float, each) for each in values)
    return ChannelStatistics((r, g, b), (red, green, blue))


def split_source(arrays: SplitArrays, spec: DataSpec, cache: ImageCache) -> Source:
    """Return arrays as a data set whose test images, where there are none, are held out.

    Args:
        arrays: the images and labels.
        spec: the size and crop of the images, and the seed that draws the split.
        cache: keeps images that had to be made.

    Raises:
        DataError: a class cannot be split, or the training images are of one colour.
    """
    classes, splits = arrays.classes, arrays.splits
    identity = arrays.known(
        "content hash", cache, lambda: [content_hash(classes, splits)], _only_text
    )
    sizes = {(images.shape[2], images.shape[1]) for images, _ in splits}
    names = ["train", "test"]
    parts: list[tuple[Images, np.ndarray]] = list(splits)
    images, labels = splits[0]
    drawn, split = drawn_test_part(
        spec, classes, [part[1] for part in splits], arrays.split, arrays.place
    )
    if drawn is not None and not drawn.any():  # nothing is copied
        parts = [(images, labels), (images[:0], labels[:0])]
    elif drawn is not None:
        parts = [(take(images, np.flatnonzero(part)), labels[part]) for part in (~drawn, drawn)]
        which = hashlib.blake2b(drawn.tobytes(), digest_size=16).hexdigest()
        names = [f"{name}-{which}" for name in names]
    size = spec.image_size or native_size(sizes)
    rows = _ArrayRows(
        {name: part[0] for name, part in zip(names, parts, strict=True)}, identity, spec.crop
    )

    def native() -> ChannelStatistics:
        return arrays.known(
            f"statistics of {names[0]}",
            cache,
            lambda: [*astuple(_statistics(parts[0][0]))],
            _mean_and_std,
        )

    train, test, statistics = rows.at_size(size, cache, native)
    require_spread(spec, statistics)
    return Source(
        classes=classes,
        size=size,
        train_images=train,
        train_labels=parts[0][1],
        test_images=test,
        test_labels=parts[1][1],
        statistics=statistics,
        content_hash=identity,
        split=split,
    )


def _statistics(images: Images) -> ChannelStatistics:
    """Return the statistics of grey or RGB images, read piece by piece."""
    histogram = ChannelHistogram()
    for start in range(0, len(images), _PIECE):
        histogram.add(_to_rgb(images[start : start + _PIECE]))
    return histogram.statistics()


def _to_rgb(images: np.ndarray) -> np.ndarray:
    return np.repeat(images[..., None], 3, axis=3) if images.ndim == 3 else images


@dataclass(frozen=True)
class _ArrayRows:
    """The images of both splits as they came, grey or RGB.

    Attributes:
        splits: training and test images, by a name that is part of the keys of the cache.
        identity: the content hash.
        crop: how an oblong image becomes square.
    """

    splits: Mapping[str, Images]
    identity: str
    crop: CropRule

    def at_size(
        self, size: int, cache: ImageCache, native: Callable[[], ChannelStatistics]
    ) -> tuple[Images, Images, ChannelStatistics]:
        """Return both splits as RGB of one size, and the statistics of the training images.

        Args:
            size: in pixels.
            cache: keeps images that had to be made.
            native: gives the statistics of training images that are what they were.
        """
        ready = {name: _as_they_are(images, size) for name, images in self.splits.items()}
        made = [name for name, images in ready.items() if images is None]
        keys = {name: self._key(name, size) for name in made}
        shapes = {name: (len(self.splits[name]), size, size, 3) for name in made}
        mode = settle_mode(
            sum(map(math.prod, shapes.values())),
            folder=cache.folder,
            is_cached=all(cache.find(keys[name], shapes[name]) for name in made),
        )
        images: list[Images] = []
        statistics: ChannelStatistics | None = None
        for name, unchanged in ready.items():
            if unchanged is not None:
                images.append(unchanged)
                statistics = statistics or native()
                continue
            pieces = partial(_making, self.splits[name], size, self.crop)
            kept, own = keep(cache, mode, keys[name], shapes[name], pieces)
            images.append(kept)
            statistics = statistics or own
        assert statistics is not None
        return images[0], images[1], statistics

    def _key(self, name: str, size: int) -> str:
        # Square images are the same under either rule.
        height, width = self.splits[name].shape[1:3]
        rule = "" if height == width else f"/{self.crop}"
        text = f"{self.identity}-{name}/{size}/{DECODER}{rule}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _as_they_are(images: Images, size: int) -> Images | None:
    """Return images that need no work; else None."""
    if not len(images):
        return np.empty((0, size, size, 3), dtype=np.uint8)
    if images.shape[1:] != (size, size, 3):
        return None
    is_held = isinstance(images, np.ndarray) and not isinstance(images, np.memmap)
    return np.ascontiguousarray(images) if is_held else images


def _making(images: Images, size: int, crop: CropRule) -> Iterator[np.ndarray]:
    return in_pieces(
        lambda start, stop: _to_rgb(resize_arrays(images[start:stop], size, crop)),
        len(images),
        max(1, min(_PIECE, _PIECE_BYTES // (3 * size**2))),
    )
