"""A folder of images as classes and files: which files count, and what is wrong with a tree."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from pathlib import Path

from emabench.errors import DataError, NotFoundError

TEST_NAMES = ("test", "val", "valid")
"""Names of the folder that holds the test images; the first that exists is used."""


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


_IGNORED_FILES = _any_of(
    ".DS_Store",
    "._*",
    ".gitkeep",
    ".gitignore",
    ".gitattributes",
    ".keep",
    ".nomedia",
    ".directory",
    "Thumbs.db",
    "desktop.ini",
)
_IGNORED_FOLDERS = _any_of(".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir", ".Trash*")
_IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


@dataclass(frozen=True)
class ClassTree:
    """The image files of one folder of class folders, sorted by class and by path."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]


def read_tree(root: Path) -> ClassTree:
    """List the files of every class folder in ``root``; subfolders of a class belong to it.

    Raises:
        DataError: there is no class, only one, an empty one, or a file beside the class folders.
    """
    folders, stray = _children(root)
    if stray:
        raise DataError(
            f"{stray[0]}: a file beside the class folders",
            hint="put images into a folder per class, and everything else elsewhere",
        )
    if not folders:
        raise DataError(
            f"{root}: empty, there is no class folder in it",
            hint="put the images of each class into a folder named for the class",
        )
    if len(folders) == 1:
        raise DataError(
            f"{root}: only one class, {folders[0].name!r}",
            hint="at least two class folders are needed to tell classes apart",
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        members = _files_below(folder)
        if not members:
            raise DataError(f"{folder}: the class folder is empty", hint="add images or remove it")
        files += members
        labels += [label] * len(members)
    return ClassTree(root, tuple(folder.name for folder in folders), tuple(files), tuple(labels))


def find_splits(root: Path) -> tuple[Path, Path | None, str]:
    """Return the folder of the training images, that of the test images, and what to call it.

    Without a test folder the second is None and the name is empty.

    Raises:
        NotFoundError: ``root`` does not exist.
        DataError: it is no folder, holds a test but no training folder, or images of its own.
    """
    if not root.exists():
        raise NotFoundError(f"{root}: there is no such folder", hint="check data_dir")
    if not root.is_dir():
        raise DataError(f"{root}: not a folder", hint="data_dir names a folder of class folders")
    folders, stray = _children(root)
    # A class may be called "train": only a folder of folders is a split.
    splits = {f.name: f for f in folders if f.name in ("train", *TEST_NAMES) and _children(f)[0]}
    train = splits.pop("train", None)
    found = next((name for name in TEST_NAMES if name in splits), None)
    if train is None:
        if found is not None:
            raise DataError(
                f"{root}: there is {found}/ but no train/ with class folders",
                hint="put the training images into train/, one folder per class",
            )
        if (root / "train").is_dir() and _children(root / "train") == ([], []):
            raise DataError(f"{root / 'train'}: empty", hint="put one folder per class into it")
        # Images right in train/ and test/: taken as classes, they would be told apart in earnest.
        if folders and all(f.name in ("train", *TEST_NAMES) for f in folders):
            raise DataError(
                f"{folders[-1]}: there is no class folder in it",
                hint="put the images of each class into a folder named for the class",
            )
        return root, None, ""
    for path in stray:
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            raise DataError(
                f"{path}: an image beside train/", hint="put it into a class folder, or elsewhere"
            )
    if found is None:
        empty = next((root / n for n in TEST_NAMES if (root / n).is_dir()), None)
        if empty is not None:
            raise DataError(
                f"{empty}: empty, there is no class folder in it",
                hint="add the test images, or remove the folder to have a part of train/ held out",
            )
        return train, None, ""
    unused = [f"{f.name}/" for f in folders if f.name not in ("train", found)]
    note = f" ({', '.join(unused)} not used)" if unused else ""
    return train, splits[found], f"{found}/{note}"


def require_same_classes(train: ClassTree, test: ClassTree) -> None:
    """Check that both splits have the same class folders.

    Raises:
        DataError: one is missing; it is named with the place where it should be.
    """
    for here, there in ((train, test), (test, train)):
        missing = sorted(set(there.classes) - set(here.classes))
        if missing:
            raise DataError(
                f"{here.root / missing[0]}: the class folder is missing, "
                f"but {there.root / missing[0]} exists",
                hint="both splits need the same class folders",
            )


def _children(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files in ``folder``, sorted, without what is known as litter."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    folders = [p for p in entries if p.is_dir() and not _IGNORED_FOLDERS.match(p.name)]
    files = [p for p in entries if not p.is_dir() and not _IGNORED_FILES.match(p.name)]
    return folders, files


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error

    # Strings, not paths: twice as fast for large trees.
    for place, names, files in os.walk(folder, followlinks=True, onerror=unreadable):
        names[:] = sorted(name for name in names if not _IGNORED_FOLDERS.match(name))
        found += [Path(place, name) for name in sorted(files) if not _IGNORED_FILES.match(name)]
    return found
