"""Data sets that are folders of image files, one folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emabench.data.cache.image_cache import ImageCache
from emabench.data.decode import FileFacts
from emabench.data.places import given_path
from emabench.data.sources.encoded import EncodedImages, EncodedSplit, load_encoded
from emabench.data.sources.left_out import warn_left_out
from emabench.data.sources.manifest import Progress, read_facts
from emabench.data.sources.source import Source
from emabench.data.sources.tree import ClassTree, find_splits, read_tree, require_same_classes
from emabench.errors import SpecError
from emabench.spec.data import DataSpec


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
    encoded = read_folder(given_path(spec.data_dir), cache, progress)
    return load_encoded(spec, encoded, cache, progress)


def read_folder(root: Path, cache: ImageCache, progress: Progress | None = None) -> EncodedImages:
    """Read what a tree of image files holds; a warning says what is left out.

    Raises:
        NotFoundError: it does not exist.
        DataError: it makes no data set, or a file is no image.
    """
    train_root, test_root, split_name = find_splits(root)
    trees = [read_tree(train_root)]
    if test_root is not None:
        trees.append(read_tree(test_root))
        require_same_classes(trees[0], trees[1])
    for note in (note for tree in trees for note in tree.notes):
        warn_left_out(note)
    files = [path for tree in trees for path in tree.files]
    facts = read_facts(root, files, cache.folder / "manifests", progress)
    splits = _as_splits(trees, facts)
    return EncodedImages(trees[0].classes, splits, split_name, str(trees[0].root))


def _as_splits(trees: list[ClassTree], facts: list[FileFacts]) -> tuple[EncodedSplit, ...]:
    splits, done = [], 0
    for tree in trees:
        stop = done + len(tree.files)
        places = tuple(map(str, tree.files))
        labels = np.array(tree.labels, dtype=np.int64)
        splits.append(EncodedSplit(places, tuple(facts[done:stop]), labels))
        done = stop
    return tuple(splits)
