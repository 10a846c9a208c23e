"""A folder of images as classes and files: which files count, and what is wrong with a tree.

Names that begin with a dot are left out. Links to folders are followed, but every folder counts
once, where it really lies.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emabench.data.sources.left_out import some_of
from emabench.errors import DataError, NotFoundError

TEST_NAMES = ("test", "val", "valid")
"""Names of the folder that holds the test images; the first that exists is used."""


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


_LITTER = _any_of(
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
    ".git",
    ".ipynb_checkpoints",
    "__MACOSX",
    "@eaDir",
    ".Trash*",
)
"""What programs leave behind; leaving it out is not worth a note."""
IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


@dataclass(frozen=True)
class ClassTree:
    """The image files of one folder of class folders, sorted by class and by path.

    Attributes:
        root: the folder.
        classes: names of the class folders; none where the images lie in ``root`` itself.
        files: the images.
        labels: of the files; all 0 where there are no classes.
        notes: what was left out, one line for each reason.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_tree(root: Path) -> ClassTree:
    """List the files of every class folder in ``root``; subfolders of a class belong to it.

    A folder of nothing but files has no classes.

    Raises:
        DataError: there is nothing, one class, an empty one, or a file beside the class folders.
    """
    top = _listed(root)
    folders = [Path(folder) for folder in top.folders]
    stray = [root / name for name in top.files]
    if not folders and not stray:
        raise DataError(
            f"{root}: empty, it has no class folders",
            hint="put the images of each class into a folder named for the class",
        )
    if not folders:
        notes = _notes(root, top.hidden, [])
        return ClassTree(root, (), tuple(stray), (0,) * len(stray), notes)
    if stray:
        raise DataError(
            f"{stray[0]}: a file beside the class folders",
            hint="put images into a folder per class, and everything else elsewhere",
        )
    if len(folders) == 1:
        raise DataError(
            f"{root}: only one class, {folders[0].name!r}",
            hint="at least two class folders are needed to tell classes apart; images without "
            "labels are a folder of their own",
        )
    walk = _Walk(root, top)
    files: list[Path] = []
    labels: list[int] = []
    for label, (folder, place) in enumerate(zip(folders, top.folders, strict=True)):
        members = walk.files_below(place)
        if place in walk.repeated:
            raise DataError(
                f"{folder}: a link to a folder that is included already", hint="remove the link"
            )
        if not members:
            raise DataError(f"{folder}: the class folder is empty", hint="add images or remove it")
        files += members
        labels += [label] * len(members)
    names = tuple(folder.name for folder in folders)
    notes = _notes(root, walk.hidden, walk.repeated)
    return ClassTree(root, names, tuple(files), tuple(labels), notes)


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
                f"{folders[-1]}: it has no class folders",
                hint="put the images of each class into a folder named for the class; images "
                "without labels are a folder of their own",
            )
        return root, None, ""
    for path in stray:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise DataError(
                f"{path}: an image beside train/", hint="put it into a class folder, or elsewhere"
            )
    if found is None:
        empty = next((root / n for n in TEST_NAMES if (root / n).is_dir()), None)
        if empty is not None:
            raise DataError(
                f"{empty}: empty, it has no class folders",
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
    """Return the folders and the files in ``folder``, sorted, without those that are left out."""
    found = _listed(folder)
    return [Path(each) for each in found.folders], [folder / name for name in found.files]


@dataclass
class _Listing:
    """What lies in a folder, sorted by name: paths of folders, names of files."""

    folders: list[str] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    """Those of the folders that are links."""
    files: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def _listed(folder: Path | str) -> _Listing:
    """List a folder.

    Raises:
        DataError: it cannot be read.
    """
    found = _Listing()
    try:
        with os.scandir(folder) as entries:
            # Strings, not paths: twice as fast for large trees.
            for entry in sorted(entries, key=lambda entry: entry.name):
                if _LITTER.match(entry.name):
                    continue
                if entry.name.startswith("."):
                    found.hidden.append(entry.path)
                elif _leads_to_folder(entry):
                    found.folders.append(entry.path)
                    if entry.is_symlink():
                        found.links.add(entry.path)
                else:
                    found.files.append(entry.name)
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: cannot be read ({error.strerror})",
            hint="check the folder and its permissions",
        ) from error
    return found


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


class _Walk:
    """Lists the files below class folders, and enters every folder once.

    Args:
        root: the folder of the class folders.
        top: what lies in it.

    Attributes:
        hidden: paths that were left out for their name.
        repeated: links that were left out, since the folder counts where it really lies, or holds
            the data set itself.
    """

    def __init__(self, root: Path, top: _Listing) -> None:
        self.hidden, self.repeated = list(top.hidden), list[str]()
        here = root.resolve()
        self._seen = {_identity(folder) for folder in (here, *here.parents)}
        self._real: dict[str, _Listing] = {}
        pending = [folder for folder in top.folders if folder not in top.links]
        while pending:  # without links first: what they lead to may lie in a later class
            place = pending.pop()
            self._seen.add(_identity(place))
            found = self._real[place] = _listed(place)
            pending += [folder for folder in found.folders if folder not in found.links]

    def files_below(self, folder: str) -> list[Path]:
        """Return the files of a folder, as it was listed, and then those of its subfolders."""
        files: list[Path] = []
        pending = [folder]
        while pending:
            place = pending.pop()
            found = self._real.get(place) or self._entered(place)
            if found is None:
                self.repeated.append(place)
                continue
            self.hidden += found.hidden
            files += [Path(place, name) for name in found.files]
            pending += reversed(found.folders)
        return files

    def _entered(self, place: str) -> _Listing | None:
        """List a folder that lies behind a link; None where it counts already."""
        identity = _identity(place)
        if identity in self._seen:
            return None
        self._seen.add(identity)
        return _listed(place)


def _identity(folder: Path | str) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _notes(root: Path, hidden: Sequence[str], repeated: Sequence[str]) -> tuple[str, ...]:
    reasons = {
        "a name that begins with a dot": hidden,
        "a link to a folder that is included already": repeated,
    }
    notes = []
    for reason, paths in reasons.items():
        names = [Path(path).relative_to(root).as_posix() for path in paths]
        if names:
            notes.append(f"{root}: left out, {reason}: {some_of(names)}")
    return tuple(notes)
