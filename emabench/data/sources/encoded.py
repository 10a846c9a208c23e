"""A data set of encoded images: what is left to do once it is known where their bytes are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emabench.data.cache.cache_mode import settle_mode
from emabench.data.cache.cached_images import keep
from emabench.data.cache.image_cache import ImageCache, Pieces
from emabench.data.cache.image_rows import FileImages
from emabench.data.decode import DECODER, FileFacts, largest_value
from emabench.data.pool import in_pieces
from emabench.data.sources.manifest import Progress
from emabench.data.sources.requirements import native_size, require_spread
from emabench.data.sources.source import Source
from emabench.data.subset import chosen_rows, drawn_test_part
from emabench.errors import DataError, SpecError
from emabench.spec.data import DataSpec

_PIECE_BYTES = 2**22
_SUBSET_STATISTICS = "folder-subset-statistics"
"""Images of a subset were normalised by all training images, each of which had to be decoded."""
_BRIGHT = 4096
"""Sixteen bits of which only twelve are used would show as 16 of 256 shades."""
_SMALL_PIXELS = 64**2
"""Up to here a file takes less time than threads lose to each other by Python's lock."""


@dataclass(frozen=True)
class EncodedSplit:
    """Some images, in the order of their classes.

    Attributes:
        places: where the bytes of each are, as ``decode`` takes them.
        facts: of each.
        labels: int64 ``[N]``; all 0 where there are no classes.
    """

    places: tuple[str, ...]
    facts: tuple[FileFacts, ...]
    labels: np.ndarray

    def rows(self, rows: np.ndarray) -> EncodedSplit:
        """Return some of them."""
        return EncodedSplit(
            tuple(self.places[row] for row in rows),
            tuple(self.facts[row] for row in rows),
            self.labels[rows],
        )


@dataclass(frozen=True)
class EncodedImages:
    """A data set before any of its images is decoded.

    Attributes:
        classes: their names, sorted; none where there are no labels.
        splits: the training images, and the test images where there are some.
        split: how the test images came about; of no use without them.
        place: where the training images lie, for messages.
    """

    classes: tuple[str, ...]
    splits: tuple[EncodedSplit, ...]
    split: str
    place: str

    @property
    def content_hash(self) -> str:
        """Hex digits that identify classes, images and labels, in the order that they have."""
        digest = hashlib.blake2b(repr(self.classes).encode(), digest_size=16)
        for split in self.splits:
            digest.update(f"/{len(split.places)}".encode())
            for fact, label in zip(split.facts, split.labels, strict=True):
                digest.update(f"{label}:{fact.digest}".encode())
        return digest.hexdigest()


def load_encoded(
    spec: DataSpec, encoded: EncodedImages, cache: ImageCache, progress: Progress | None = None
) -> Source:
    """Return encoded images as a data set; only what is used is decoded.

    Args:
        spec: the size and crop of the images, the subsets, and the seed that draws them and the
            split.
        encoded: the images.
        cache: keeps the decoded images.
        progress: called with the number of images decoded and of all that are used.

    Raises:
        SpecError: there is nothing that the spec's ``white`` is for.
        DataError: the images cannot be split, are no images, or show nothing.
    """
    splits = list(encoded.splits)
    facts = [fact for split in splits for fact in split.facts]
    labels = [split.labels for split in splits]
    drawn, split_name = drawn_test_part(spec, encoded.classes, labels, encoded.split, encoded.place)
    if drawn is not None:
        splits = [splits[0].rows(np.flatnonzero(part)) for part in (~drawn, drawn)]
    size = spec.image_size or native_size((fact.width, fact.height) for fact in facts)
    whole = splits[0]
    subsets = {"train": spec.train_subset, "test": spec.test_subset}
    for index, (name, count) in enumerate(subsets.items()):
        rows = chosen_rows(splits[index].labels, count, spec.subset_seed, name)
        if rows is not None:
            splits[index] = splits[index].rows(rows)
    is_whole = splits[0] is whole
    _check_depth(spec, splits[0], facts)
    keys = [_key(split, size, spec) for split in splits]
    shapes = [(len(split.places), size, size, 3) for split in splits]
    total = sum(len(split.places) for split in splits)
    mode = settle_mode(
        3 * size**2 * total,
        folder=cache.folder,
        is_cached=all(cache.find(k, s) for k, s in zip(keys, shapes, strict=True) if s[0]),
    )
    kept, done = [], 0
    for split, key, shape in zip(splits, keys, shapes, strict=True):
        images = FileImages(split.places, size, spec.crop, spec.white)
        pieces = _decoding(images, progress, done, total, _threads(split.facts))
        if len(images):
            kept.append(keep(cache, mode, key, shape, pieces, images))
        done += len(images)
    train_images, statistics = kept[0]
    require_spread(spec, statistics)
    return Source(
        classes=encoded.classes,
        size=size,
        train_images=train_images,
        train_labels=splits[0].labels,
        test_images=kept[1][0] if len(kept) > 1 else np.empty(shapes[1], dtype=np.uint8),
        test_labels=splits[1].labels,
        statistics=statistics,
        content_hash=encoded.content_hash,
        split=split_name,
        revisions=() if is_whole or spec.dataset != "folder" else (_SUBSET_STATISTICS,),
    )


def _check_depth(spec: DataSpec, train: EncodedSplit, facts: Sequence[FileFacts]) -> None:
    """Refuse training images of 16 bits that would become black.

    Raises:
        DataError: none of them has a bright value, and the spec does not say what is white.
        SpecError: it does, and nothing has 16 bits.
    """
    if spec.white is not None:
        if not any(fact.is_deep for fact in facts):
            raise SpecError(
                f"data.white={spec.white}, but no image in {spec.data_dir} has 16 bits",
                hint="leave it out",
            )
        return
    deep = [path for path, fact in zip(train.places, train.facts, strict=True) if fact.is_deep]
    if not deep:
        return
    largest = 0
    for value in in_pieces(lambda start, _: largest_value(deep[start]), len(deep), 1):
        largest = max(largest, value)
        if largest >= _BRIGHT:
            return
    likely = next(value for value in (255, 1023, 4095) if largest <= value)
    raise DataError(
        f"{spec.data_dir}: the 16-bit training images would be black: their largest value is "
        f"{largest} of 65535",
        hint=f"set data.white to the value that is white, such as {likely}, or to 65535 if "
        "they are dark on purpose; 16-bit colour images must be converted to 8 bits",
    )


def _key(split: EncodedSplit, size: int, spec: DataSpec) -> str:
    white = "" if spec.white is None else f"/{spec.white}"
    key = hashlib.blake2b(f"{size}/{spec.crop}/{DECODER}{white}".encode(), digest_size=16)
    for fact in split.facts:
        key.update(fact.digest.encode())
    return key.hexdigest()


def _threads(facts: Sequence[FileFacts]) -> int | None:
    """Return how many threads decode the files; None is one per core."""
    large = any(fact.width * fact.height > _SMALL_PIXELS for fact in facts)
    return None if large else 1


def _decoding(
    images: FileImages, progress: Progress | None, done: int, total: int, threads: int | None
) -> Pieces:
    """Return what decodes a split; ``done`` and ``total`` place it in the progress."""

    def work(start: int, stop: int) -> np.ndarray:
        return images.decoded(images.files(slice(start, stop)))

    def pieces() -> Iterator[np.ndarray]:
        made = done
        piece_rows = max(1, _PIECE_BYTES // (3 * images.size**2))
        for piece in in_pieces(work, len(images), piece_rows, threads=threads):
            yield piece
            made += len(piece)
            if progress is not None:
                progress(made, total)

    return pieces
