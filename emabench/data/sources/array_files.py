"""Data sets that are files of NumPy arrays: an ``.npz`` archive, ``.npy`` files, MedMNIST's layout.

The header of every array is read, and compared with the length of what follows, before anything is
allocated. Python objects are never read. An ``.npy`` file is mapped into memory; what an ``.npz``
holds has to fit into half of the memory that is free.
"""

from __future__ import annotations

import math
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from emabench.data.cache.image_cache import ImageCache
from emabench.data.places import given_path
from emabench.data.sources.arrays import SplitArrays, split_source
from emabench.data.sources.left_out import warn_left_out
from emabench.data.sources.manifest import Origin
from emabench.data.sources.requirements import require_class_names, require_trained_classes
from emabench.data.sources.source import Source
from emabench.errors import DataError, EmabenchError, NotFoundError, SpecError
from emabench.spec.data import DataSpec

_LAYOUTS = (
    ("images", "labels"),
    ("x", "y"),
    ("train_images", "train_labels"),
    ("x_train", "y_train"),
)
"""Names of the training images and of their labels; the first pair may go with either test pair."""
_TEST = (("test_images", "test_labels"), ("x_test", "y_test"))
_VALIDATION = (("val_images", "val_labels"), ("x_val", "y_val"))
_CLASSES = ("classes", "class_names")

_HEADER_CHARACTERS = 10_000
_PLAIN_COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_IS_ENCRYPTED = 1


@dataclass(frozen=True)
class ArrayHeader:
    """What a stored array says of itself.

    Attributes:
        shape: of the array.
        dtype: of its values.
        offset: bytes before the values.
        is_fortran: whether the first index runs fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    is_fortran: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class ArraySet:
    """The arrays of a data set before their values are looked at.

    Attributes:
        place: the archive or folder.
        headers: by lower-case name.
        members: what each is called where it lies.
        train: names of the training images and of their labels, which may be missing.
        test: likewise; None: there are no test images.
        notes: what is left out.
    """

    place: Path
    headers: Mapping[str, ArrayHeader]
    members: Mapping[str, str]
    train: tuple[str, str | None]
    test: tuple[str, str | None] | None
    notes: tuple[str, ...]

    @property
    def classes(self) -> str | None:
        """The name of the array of class names; None: there is none."""
        return next((name for name in _CLASSES if name in self.headers), None)


def load_array_files(spec: DataSpec, cache: ImageCache) -> Source:
    """Return the data set of the arrays in ``spec.data_dir``.

    Raises:
        SpecError: there is no ``data_dir``.
        NotFoundError: it does not exist.
        DataError: the arrays are damaged, hold Python objects, or make no data set.
    """
    if spec.data_dir is None:
        raise SpecError(
            "dataset=arrays needs data_dir", hint="name an .npz file, or a folder of .npy files"
        )
    return split_source(read_array_files(given_path(spec.data_dir)), spec, cache)


def read_array_files(place: Path) -> SplitArrays:
    """Read the arrays in an archive, a folder or a file; a warning says what is left out.

    Raises:
        NotFoundError: there is no such place.
        DataError: the arrays are damaged, hold Python objects, or make no data set.
    """
    origin = _origin(place)
    found = find_arrays(place)
    for note in found.notes:
        warn_left_out(f"{found.place}: {note}")
    if _is_archive(place):
        _check_room(found)
    pairs = [pair for pair in (found.train, found.test) if pair is not None]
    images = [_image_rows(_values(found, name)) for name, _ in pairs]
    labels = [_label_values(found, name) for _, name in pairs if name is not None]
    classes: tuple[str, ...] = ()
    if labels:
        classes, labels = _as_classes(found, labels)
        require_trained_classes(classes, labels[0], str(place))
    else:
        labels = [np.zeros(len(images[0]), dtype=np.int64)]
    splits = tuple(zip(images, labels, strict=True))
    split = "" if found.test is None else found.members[found.test[0]]
    return SplitArrays(classes, splits, split, str(place), origin)


def _origin(place: Path) -> Origin | None:
    """Return the files of a place, before they are read; None: whoever reads them says why not."""
    try:
        return Origin.of(sorted(place.glob("*.npy")) if place.is_dir() else [place])
    except OSError:
        return None


def find_arrays(place: Path) -> ArraySet:
    """Read the headers of the arrays in an archive, a folder or a file, and tell their parts.

    Raises:
        NotFoundError: there is no such place.
        DataError: an array is damaged, of a kind that cannot be images or labels, or a part is
            missing or there twice.
    """
    if not place.exists():
        raise NotFoundError(f"{place}: there is no such file or folder", hint="check data_dir")
    members = _members(place)
    names: dict[str, str] = {}
    for member in members:
        if names.setdefault(member.lower(), member) != member:
            raise DataError(
                f"{place}: {names[member.lower()]} and {member} are one name but for capitals",
                hint="remove one of them",
            )
    train, test, unused = _parts(place, names)
    used = {name for pair in (train, test) for name in pair or () if name}
    used |= {next((name for name in _CLASSES if name in names), "")}
    headers = {name: _header_at(place, names[name]) for name in sorted(used & names.keys())}
    found = ArraySet(place, headers, names, train, test, ())
    for pair in (train, test):
        _check_part(found, pair)
    left = sorted(names[name] for name in names.keys() - used)
    notes = [f"not used: {', '.join(left)}{unused}"] if left else []
    return ArraySet(place, headers, names, train, test, tuple(notes))


def _parts(
    place: Path, names: Mapping[str, str]
) -> tuple[tuple[str, str | None], tuple[str, str | None] | None, str]:
    """Return the names of the training and of the test arrays, and why others are not used."""

    def present(pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str | None]]:
        return [
            (images, labels if labels in names else None)
            for images, labels in pairs
            if images in names
        ]

    train, test, validation = map(present, (_LAYOUTS, _TEST, _VALIDATION))
    if not train:
        raise DataError(
            f"{place}: no array of training images",
            hint="call it images, x, train_images or x_train; found: "
            f"{', '.join(sorted(names.values())[:8]) or 'none'}",
        )
    for pairs in (train, test, validation):
        if len(pairs) > 1:
            found = " and ".join(names[images] for images, _ in pairs)
            raise DataError(
                f"{place}: {found} could both be the images",
                hint="keep one of them",
            )
    if train[0][1] is None:
        return train[0], None, " (there are no training labels)" if test else ""
    chosen = test or validation
    if not chosen:
        return train[0], None, ""
    if chosen[0][1] is None:
        raise DataError(
            f"{place}: {names[chosen[0][0]]} has no labels",
            hint="add them, or remove these images to have a part of the others held out",
        )
    unused = f" ({names[test[0][0]]} are the test images)" if test and validation else ""
    return train[0], chosen[0], unused


def _check_part(found: ArraySet, pair: tuple[str, str | None] | None) -> None:
    if pair is None:
        return
    images = found.headers[pair[0]]
    place = _called(found, pair[0])
    _check_images(images, place)
    if pair[1] is None:
        return
    labels = found.headers[pair[1]]
    _check_labels(labels, _called(found, pair[1]))
    if labels.shape[0] != images.shape[0]:
        raise DataError(
            f"{place}: {images.shape[0]:,} images, but {labels.shape[0]:,} labels in "
            f"{found.members[pair[1]]}",
            hint="every image needs one label",
        )


def _check_images(header: ArrayHeader, place: str) -> None:
    shape = header.shape
    shown = " x ".join(map(str, shape)) or "a single number"
    hint = "images are uint8 [N, H, W] for grey, [N, H, W, 1], or [N, H, W, 3] for RGB"
    if header.dtype != np.uint8:
        raise DataError(
            f"{place}: values of type {header.dtype}, not uint8",
            hint="bring them to 0..255 and save them as uint8",
        )
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise DataError(
            f"{place}: {shown}: the channels come first",
            hint="put them last: images.transpose(0, 2, 3, 1)",
        )
    if len(shape) == 4 and shape[3] == 4:
        raise DataError(f"{place}: {shown}: a fourth channel", hint=f"lay it on white; {hint}")
    if len(shape) > 4 or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise DataError(f"{place}: {shown}: volumes, not images", hint=hint)
    if len(shape) < 3:
        raise DataError(f"{place}: {shown}: not images", hint=hint)
    if not math.prod(shape):
        raise DataError(f"{place}: {shown}: no images", hint=hint)
    if header.is_fortran:
        raise DataError(
            f"{place}: stored with the first index fastest",
            hint="save np.ascontiguousarray(images)",
        )


def _check_labels(header: ArrayHeader, place: str) -> None:
    shape = header.shape
    if not np.issubdtype(header.dtype, np.integer):
        raise DataError(
            f"{place}: labels of type {header.dtype}, not whole numbers",
            hint="save them as whole numbers, one for each image",
        )
    if len(shape) == 2 and shape[1] > 1:
        raise DataError(
            f"{place}: {shape[1]} labels per image",
            hint="an image has one label here: keep one column, or leave the labels out",
        )
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise DataError(
            f"{place}: labels of shape {shape}", hint="labels are [N] or [N, 1], whole numbers"
        )


def _image_rows(images: np.ndarray) -> np.ndarray:
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images


def _label_values(found: ArraySet, name: str) -> np.ndarray:
    labels = np.array(_values(found, name)).reshape(-1)
    if labels.min() < 0 or labels.max() > np.iinfo(np.int64).max:
        raise DataError(
            f"{_called(found, name)}: {labels.min()} is no class",
            hint="classes are numbered from 0; images without a class do not belong here",
        )
    return labels.astype(np.int64)


def _as_classes(
    found: ArraySet, labels: list[np.ndarray]
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the names of the classes, and the labels as indices into them."""
    if found.classes is None:
        numbers = np.unique(np.concatenate(labels))
        return tuple(map(str, numbers)), [np.searchsorted(numbers, each) for each in labels]
    place = _called(found, found.classes)
    header = found.headers[found.classes]
    if header.dtype.kind != "U" or len(header.shape) != 1:
        raise DataError(
            f"{place}: not a list of names",
            hint="save them as text: np.array(['ape', 'bee'])",
        )
    names = tuple(map(str, _values(found, found.classes)))
    require_class_names(names, place)
    largest = max(int(each.max()) for each in labels)
    if largest >= len(names):
        raise DataError(
            f"{place}: {len(names)} names, but a label is {largest}",
            hint="label n is the class of the name at n, counted from 0",
        )
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.argsort(order)
    return tuple(names[index] for index in order), [rank[each] for each in labels]


def _called(found: ArraySet, name: str) -> str:
    """Return what messages call an array."""
    return f"{found.place}: {found.members[name]}" if name in found.members else str(found.place)


def _members(place: Path) -> list[str]:
    """Return the names of the arrays, without ``.npy``."""
    if place.is_dir():
        names = sorted(file.stem for file in place.glob("*.npy") if not file.name.startswith("."))
        if not names:
            raise DataError(
                f"{place}: no .npy file in it", hint="save images.npy and labels.npy into it"
            )
        return names
    if not stat.S_ISREG(place.stat().st_mode):
        raise DataError(f"{place}: not a regular file", hint="name an .npz or .npy file")
    with place.open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        return ["images"]
    if not zipfile.is_zipfile(place):
        raise DataError(
            f"{place}: neither .npz nor .npy",
            hint="save it with np.savez or np.save; pickles are not read",
        )
    with _readable(str(place)), zipfile.ZipFile(place) as archive:
        names = [entry.filename for entry in archive.infolist()]
        for entry in archive.infolist():
            if entry.flag_bits & _IS_ENCRYPTED or entry.compress_type not in _PLAIN_COMPRESSION:
                raise DataError(
                    f"{place}: {entry.filename}: encrypted, or compressed in an unusual way",
                    hint="save it with np.savez or np.savez_compressed",
                )
    if len(set(names)) < len(names):
        raise DataError(f"{place}: a name stands twice in it", hint="save it anew with np.savez")
    return sorted(name.removesuffix(".npy") for name in names if name.endswith(".npy"))


@contextmanager
def _member(place: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open an array; yield it with its length in bytes."""
    if not _is_archive(place):
        file = place / f"{member}.npy" if place.is_dir() else place
        if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would wait for a writer
            raise DataError(f"{file}: not a regular file", hint="remove it, or save the array")
        with file.open("rb") as stream:
            yield stream, file.stat().st_size
        return
    with zipfile.ZipFile(place) as archive:
        entry = archive.getinfo(f"{member}.npy")
        with archive.open(entry) as stream:
            yield stream, entry.file_size


@contextmanager
def _readable(place: str) -> Iterator[None]:
    """Make one line of what readers raise on damaged files."""
    try:
        yield
    except EmabenchError:
        raise
    except Exception as error:  # NumPy's readers let many kinds through
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{place}: cannot be read: {reason}",
            hint="is it complete? save it anew with np.save or np.savez",
        ) from error


def _header_at(place: Path, member: str) -> ArrayHeader:
    """Read the header of an array.

    Raises:
        DataError: it is damaged, is of Python objects, or does not go with the array's length.
    """
    called = f"{place}: {member}"
    with _readable(called), _member(place, member) as (stream, length):
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):  # others are for headers of more than 64 KiB, and for records
            raise ValueError(f"version {version[0]}.{version[1]} of the format, not 1.0")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(
            stream, max_header_size=_HEADER_CHARACTERS
        )
        header = ArrayHeader(tuple(map(int, shape)), dtype, stream.tell(), is_fortran)
        objects = dtype.hasobject
        fits = min(shape, default=0) >= 0 and header.offset + header.nbytes == length
    if objects:
        raise DataError(
            f"{called}: Python objects, which are pickles and not read",
            hint="save numbers: images as uint8, labels as whole numbers",
        )
    if not fits:
        raise DataError(
            f"{called}: its header says {header.nbytes:,} bytes of values, and there are "
            f"{length - header.offset:,}",
            hint="is it complete? save it anew",
        )
    return header


def _values(found: ArraySet, name: str) -> np.ndarray:
    """Return an array: mapped where it is a file of its own, else in memory.

    Raises:
        DataError: it is damaged.
    """
    place, header, member = found.place, found.headers[name], found.members[name]
    called = _called(found, name)
    if not _is_archive(place):
        file = place / f"{member}.npy" if place.is_dir() else place
        with _readable(called):
            return np.memmap(
                file,
                header.dtype,
                mode="r",
                offset=header.offset,
                shape=header.shape,
                order="F" if header.is_fortran else "C",
            )
    with _readable(called), _member(place, member) as (stream, _):
        values = np.lib.format.read_array(
            stream, allow_pickle=False, max_header_size=_HEADER_CHARACTERS
        )
        stream.read(1)  # at the end the archive's checksum is compared
        return np.asarray(values)


def _is_archive(place: Path) -> bool:
    return place.is_file() and zipfile.is_zipfile(place)


def _check_room(found: ArraySet) -> None:
    """Check that the arrays of an archive fit into half of the memory that is free before them.

    Raises:
        DataError: they do not.
    """
    import psutil

    needed = sum(header.nbytes for header in found.headers.values())
    room = psutil.virtual_memory().available // 2
    if needed > room:
        raise DataError(
            f"{found.place}: its arrays take {needed / 2**30:.1f} GiB of memory, and "
            f"{room / 2**30:.1f} GiB are to be had",
            hint="save each array into a folder with np.save: .npy files are mapped, not read",
        )
