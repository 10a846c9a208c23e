"""Which files of a set of shards are for training and which for testing, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emabench.data.sources.left_out import some_of, warn_left_out
from emabench.data.sources.tree import TEST_NAMES
from emabench.errors import DataError

_WORDS = {"train": "train", "training": "train", "validation": "val", "dev": "val"}
_WORDS |= {name: name for name in TEST_NAMES}


def split_of(path: Path, root: Path) -> str:
    """Return the split that a name speaks of, or that of its folder below ``root``; empty: none.

    ``imagenet-train-000.tar`` is of ``train``, so is ``train/000.tar``. Of several words in a name
    the first counts. What ``root`` and the folders above it are called says nothing.
    """
    for each in (path, path.parent):
        if root in each.parents:
            for word in re.split(r"[^a-z]+", each.name.lower()):
                if word in _WORDS:
                    return _WORDS[word]
    return ""


def by_split(files: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Return files by what ``split_of`` calls them."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(split_of(file, root), []).append(file)
    return splits


def chosen_splits(
    place: str, splits: Mapping[str, Sequence[Path]]
) -> tuple[Sequence[Path], Sequence[Path], str, tuple[str, ...]]:
    """Return the files for training, those for testing, and what to call the latter.

    A warning names those that are neither.

    Args:
        place: named in messages.
        splits: files by what ``split_of`` or a data set calls them; empty: by nothing.

    Returns:
        The files of both, none for testing where a part of the others is to be held out; what the
        test split is called; the splits that are not used.

    Raises:
        DataError: there are test files and none for training.
    """
    train = "train" if "train" in splits else next(iter(splits)) if len(splits) == 1 else ""
    test = next((name for name in TEST_NAMES if name in splits and name != train), "")
    if train not in splits:
        found = " and ".join(sorted(name or "others" for name in splits))
        raise DataError(
            f"{place}: {found}, but nothing for training",
            hint="begin the names of the files that are for training with train",
        )
    unused = sorted(name for name in splits if name not in (train, test))
    if unused:
        files = [file.name for name in unused for file in splits[name]]
        warn_left_out(f"{place}: not used: {some_of(files)}")
    called = tuple(name or "others" for name in unused)
    return splits[train], splits.get(test, ()) if test else (), test, called
