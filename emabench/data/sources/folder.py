"""Data sets that are folders of image files, one folder per class."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emabench.data.cache.cache_mode import settle_mode
from emabench.data.cache.cached_images import keep
from emabench.data.cache.channels import ChannelStatistics
from emabench.data.cache.image_cache import ImageCache, Pieces
from emabench.data.cache.image_rows import FileImages
from emabench.data.decode import DECODER, FileFacts, largest_value
from emabench.data.pool import in_pieces
from emabench.data.sources.manifest import Progress, read_facts
from emabench.data.sources.source import Source
from emabench.data.sources.tree import ClassTree, find_splits, read_tree, require_same_classes
from emabench.data.subset import chosen_rows, held_out
from emabench.errors import DataError, SpecError
from emabench.spec.data import DataSpec

_PIECE_BYTES = 2**22
_DEFAULT_SIZE = 224
_NATIVE_SIZES = range(8, 1025)
_SUBSET_STATISTICS = "folder-subset-statistics"
"""Images of a subset were normalised by all training images, each of which had to be decoded."""
_BRIGHT = 4096
"""Sixteen bits of which only twelve are used would show as 16 of 256 shades."""
_SMALL_PIXELS = 64**2
"""Up to here a file takes less time than threads lose to each other by Python's lock."""


@dataclass(frozen=True)
class _Split:
    files: tuple[Path, ...]
    facts: tuple[FileFacts, ...]
    labels: np.ndarray


def load_folder(spec: DataSpec, cache: ImageCache, progress: Progress | None = None) -> Source:
    """Return the data set of ``spec.data_dir``, its images kept as the cache mode says.

    Args:
        spec: where the tree lies, the size and crop of the images, the subsets, and the seed that
            draws them and the split. Only what is used is decoded.
        cache: keeps the decoded images and what is known of the files.
        progress: called with the number of files done and of all files, first for reading the
            files and then for decoding them.

    Raises:
        SpecError: there is no ``data_dir``, or nothing that its ``white`` is for.
        NotFoundError: it does not exist.
        DataError: the tree makes no data set, a file is no image, or the images show nothing;
            names the file or folder.
    """
    if spec.data_dir is None:
        raise SpecError(
            "dataset=folder needs data_dir", hint="name a folder that has one folder per class"
        )
    root = Path(spec.data_dir).expanduser()
    train_root, test_root, split_name = find_splits(root)
    trees = [read_tree(train_root)]
    if test_root is not None:
        trees.append(read_tree(test_root))
        require_same_classes(trees[0], trees[1])
    for note in (note for tree in trees for note in tree.notes):
        warnings.warn(note, RuntimeWarning, stacklevel=2)
    files = [path for tree in trees for path in tree.files]
    facts = read_facts(root, files, cache.folder / "manifests", progress)
    splits = _as_splits(trees, facts)
    content_hash = _content_hash(trees[0].classes, splits)
    if not trees[0].classes:
        splits.append(_rows(splits[0], np.zeros(0, dtype=np.int64)))
        split_name = "no labels: all for training"
    elif test_root is None:
        _require_two_of_each(trees[0], splits[0].labels)
        test = held_out(splits[0].labels, spec.test_fraction, spec.subset_seed)
        splits = [_rows(splits[0], np.flatnonzero(~test)), _rows(splits[0], np.flatnonzero(test))]
        split_name = f"seeded {100 * spec.test_fraction:g} % split"
    size = spec.image_size or _native_size(facts)
    subsets = {"train": spec.train_subset, "test": spec.test_subset}
    whole = splits[0]
    for index, (name, count) in enumerate(subsets.items()):
        rows = chosen_rows(splits[index].labels, count, spec.subset_seed, name)
        if rows is not None:
            splits[index] = _rows(splits[index], rows)
    _check_depth(spec, splits[0], facts)
    keys = [_key(split, size, spec) for split in splits]
    shapes = [(len(split.files), size, size, 3) for split in splits]
    total = sum(len(split.files) for split in splits)
    mode = settle_mode(
        3 * size**2 * total,
        folder=cache.folder,
        is_cached=all(map(cache.find, keys, shapes)),
    )
    kept, done = [], 0
    for split, key, shape in zip(splits, keys, shapes, strict=True):
        images = FileImages(split.files, size, spec.crop, spec.white)
        pieces = _decoding(images, progress, done, total, _threads(split.facts))
        if len(images):
            kept.append(keep(cache, mode, key, shape, pieces, images))
        done += len(images)
    train_images, statistics = kept[0]
    _check_spread(spec, statistics)
    return Source(
        classes=trees[0].classes,
        size=size,
        train_images=train_images,
        train_labels=splits[0].labels,
        test_images=kept[1][0] if len(kept) > 1 else np.empty(shapes[1], dtype=np.uint8),
        test_labels=splits[1].labels,
        statistics=statistics,
        content_hash=content_hash,
        split=split_name,
        revisions=() if splits[0] is whole else (_SUBSET_STATISTICS,),
    )


def _as_splits(trees: list[ClassTree], facts: list[FileFacts]) -> list[_Split]:
    splits, done = [], 0
    for tree in trees:
        stop = done + len(tree.files)
        labels = np.array(tree.labels, dtype=np.int64)
        splits.append(_Split(tree.files, tuple(facts[done:stop]), labels))
        done = stop
    return splits


def _rows(split: _Split, rows: np.ndarray) -> _Split:
    return _Split(
        tuple(split.files[row] for row in rows),
        tuple(split.facts[row] for row in rows),
        split.labels[rows],
    )


def _check_depth(spec: DataSpec, train: _Split, facts: Sequence[FileFacts]) -> None:
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
    deep = [path for path, fact in zip(train.files, train.facts, strict=True) if fact.is_deep]
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


def _check_spread(spec: DataSpec, statistics: ChannelStatistics) -> None:
    """Refuse training images that are all of one colour.

    Raises:
        DataError: they are.
    """
    if statistics.has_spread:
        return
    raise DataError(
        f"{spec.data_dir}: every pixel of the training images has the same colour",
        hint="look at them: there is nothing to learn"
        if spec.white is None
        else f"look at them, and check that {spec.white} is the value that is white",
    )


def _require_two_of_each(tree: ClassTree, labels: np.ndarray) -> None:
    for label, name in enumerate(tree.classes):
        if int((labels == label).sum()) < 2:
            raise DataError(
                f"{tree.root / name}: one image cannot be split into training and test",
                hint="add images, or give the data set a test/ folder",
            )


def _native_size(facts: list[FileFacts]) -> int:
    """Return the size that all files share if they are square, else 224 pixels."""
    sizes = {(fact.width, fact.height) for fact in facts}
    width, height = next(iter(sizes))
    if len(sizes) == 1 and width == height and width in _NATIVE_SIZES:
        return width
    return _DEFAULT_SIZE


def _content_hash(classes: tuple[str, ...], splits: list[_Split]) -> str:
    digest = hashlib.blake2b(repr(classes).encode(), digest_size=16)
    for split in splits:
        digest.update(f"/{len(split.files)}".encode())
        for fact, label in zip(split.facts, split.labels, strict=True):
            digest.update(f"{label}:{fact.digest}".encode())
    return digest.hexdigest()


def _key(split: _Split, size: int, spec: DataSpec) -> str:
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
