"""A file of ``torch.save``: which tensors it holds, and reading some of them.

Both forms are read, the zip archive and the older row of pickles. Nothing is allocated on the word
of the file: what a tensor claims is compared with the bytes that are there, and the bytes are read
only for the tensors that are wanted.
"""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from emabench.errors import WeightsError
from emabench.evaluation.backbone_fit import printed
from emabench.evaluation.foreign_weights.pickled_values import (
    Call,
    Global,
    Persistent,
    Pickle,
    StoredTensor,
    read_pickle,
)
from emabench.evaluation.foreign_weights.tensor_file import FoundTensor, TensorFile
from emabench.spec.plain import unprintable

_ZIP = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_PICKLES = tuple(
    bytes([0x80, protocol, 0x8A, 10]) + _MAGIC.to_bytes(10, "little") for protocol in (2, 3)
)
"""How the older form begins."""
_PROTOCOL = 1001
_DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
    }.items()
}
_DEEPEST = 8
"""Levels of dictionaries in which tensors are looked for."""
_MOST_VALUES = 300_000
_LONGEST_NAME = 500
_SAVE = "torch.save(model.state_dict(), file) writes the weights alone"


@dataclass(frozen=True)
class _Storage:
    """Numbers of a file: kind, count, how to read them, and what tells them from others."""

    dtype: torch.dtype
    numbers: int
    read: Callable[[], bytes]
    key: Any


_StorageOf = Callable[[Persistent], _Storage]


def is_torch_file(stream: IO[bytes]) -> bool:
    """Whether a file begins as ``torch.save`` begins one; the stream is rewound."""
    begin = stream.read(len(_MAGIC_PICKLES[0]))
    stream.seek(0)
    return begin.startswith(_ZIP) or begin in _MAGIC_PICKLES


def open_torch_file(file: Path) -> TensorFile:
    """Find the tensors in a file of ``torch.save``.

    Raises:
        WeightsError: it is code (TorchScript, a whole module), has no tensors, or two of one name.
        Exception: of some kind, where it is damaged.
    """
    with file.open("rb") as stream:
        is_zip = stream.read(len(_ZIP)) == _ZIP
    content, storage_of = (_archive if is_zip else _row_of_pickles)(file)
    tensors: dict[str, FoundTensor] = {}
    others: dict[str, str] = {}
    for name, value in _named(content.value):
        if isinstance(value, StoredTensor):
            if name in tensors:
                raise WeightsError(
                    f"the weights {file} have two tensors of one name: {printed(name)}", hint=_SAVE
                )
            tensors[name] = _found(value, storage_of(value.storage), name)
        else:
            others[name] = value.name
    uncalled = tuple(sorted(content.uncalled))
    if any(len(name) > _LONGEST_NAME or unprintable(name) for name in uncalled):
        raise ValueError("a name that no function has")
    if not tensors:
        _refuse_without_tensors(file, content.value, others)
    return TensorFile(tensors, others, uncalled)


def _named(root: Any) -> Iterator[tuple[str, StoredTensor | Call]]:
    """Yield the tensors in nested dictionaries, and what is no plain value, by their names.

    Raises:
        ValueError: they are more, deeper or stranger than those of a network.
    """
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        name, value, depth = waiting.pop()
        if isinstance(value, StoredTensor) or (isinstance(value, Call) and not value.items):
            if len(name) > _LONGEST_NAME or unprintable(name):
                raise ValueError("a name that no module has")
            yield name, value
            continue
        inner = value.items if isinstance(value, Call) else value
        if isinstance(inner, dict) and depth < _DEEPEST:
            if len(waiting) + len(inner) > _MOST_VALUES:
                break
            waiting += [
                (f"{name}.{key}" if name else key, each, depth + 1)
                for key, each in reversed(inner.items())
                if len(key) <= _LONGEST_NAME
            ]
    raise ValueError("more values than a network has")


def _refuse_without_tensors(file: Path, root: Any, others: Mapping[str, str]) -> None:
    module = root.name if isinstance(root, Call) else next(iter(others.values()), None)
    if module is not None:
        raise WeightsError(
            f"the weights {file} are a whole object, which only its own code can open: {module}",
            hint=_SAVE,
        )
    raise WeightsError(f"the weights {file} hold no tensors under names", hint=_SAVE)


def _found(tensor: StoredTensor, storage: _Storage, name: str) -> FoundTensor:
    """Return a tensor, if its storage has all of it."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    is_empty = 0 in tensor.shape
    end = tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1
    if not is_empty and end > storage.numbers:
        raise ValueError(f"the tensor {name} claims more than its storage holds")

    def read() -> Tensor:
        if is_empty:
            return torch.empty(tensor.shape, dtype=storage.dtype)
        size = storage.dtype.itemsize
        own = bytearray(memoryview(storage.read())[tensor.offset * size : end * size])
        numbers = torch.frombuffer(own, dtype=storage.dtype)
        return numbers.as_strided(tensor.shape, tensor.strides)

    origin = (storage.key, tensor.offset, tensor.shape, tensor.strides)
    return FoundTensor(tensor.shape, origin, read)


def _claim(storage: Persistent) -> tuple[torch.dtype, str, int, Any]:
    """Return kind, key, count of numbers and view of a storage, as a file says them."""
    mark, kind, key, _, count, *view = storage.key
    if mark != "storage" or type(count) is not int or count < 0 or not isinstance(key, str):
        raise ValueError("something outside that is no storage")
    if not isinstance(kind, Global) or kind.name not in _DTYPES:
        raise ValueError("a storage of numbers that are no plain ones")
    return _DTYPES[kind.name], key, count, (view or [None])[0]


def _archive(file: Path) -> tuple[Pickle, _StorageOf]:
    """Read the zip form; the archive is closed when nobody holds its tensors any more."""
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise ValueError("an archive with two files of one name")
    ends = [name for name in entries if name.partition("/")[2] == "data.pkl"]
    top = ends[0].removesuffix("data.pkl") if len(ends) == 1 else ""
    if f"{top}constants.pkl" in entries:
        raise WeightsError(f"the weights {file} are TorchScript, which is code", hint=_SAVE)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise WeightsError(
            f"the weights {file} are compressed, as torch.save never leaves them", hint=_SAVE
        )
    if sum(entry.file_size for entry in entries.values()) > file.stat().st_size:
        raise ValueError("an archive that claims more than it holds")
    if not top:
        raise ValueError("an archive that torch.save did not write")
    if f"{top}byteorder" in entries and archive.read(f"{top}byteorder") != b"little":
        raise WeightsError(f"the weights {file} come from a big-endian machine", hint=_SAVE)
    root = read_pickle(BytesIO(archive.read(ends[0])))

    @lru_cache(maxsize=1)  # tensors may share it
    def record(name: str) -> bytes:
        return archive.read(name)

    def storage_of(persistent: Persistent) -> _Storage:
        dtype, key, count, _ = _claim(persistent)
        name = f"{top}data/{key}"
        if count * dtype.itemsize > entries[name].file_size:
            raise ValueError(f"the storage {key} claims more than the file holds")
        return _Storage(dtype, count, lambda: record(name)[: count * dtype.itemsize], key)

    return root, storage_of


def _row_of_pickles(file: Path) -> tuple[Pickle, _StorageOf]:
    """Read the older form: some pickles, then the storages in the order of their keys."""
    places: dict[str, tuple[int, int]] = {}
    with _mapped(file) as content:
        stream = cast(IO[bytes], content)
        magic, protocol, machine = (read_pickle(stream).value for _ in range(3))
        if (magic, protocol) != (_MAGIC, _PROTOCOL):
            raise ValueError("another form than torch.save ever wrote")
        if not machine["little_endian"]:
            raise WeightsError(f"the weights {file} come from a big-endian machine", hint=_SAVE)
        root = read_pickle(stream)
        sizes = {key: dtype.itemsize for dtype, key, *_ in map(_claim, root.outside)}
        for key in read_pickle(stream).value:
            count = int.from_bytes(content.read(8), "little")
            places[key] = (content.tell(), count)
            content.seek(content.tell() + count * sizes[key])  # ValueError beyond the end

    def storage_of(persistent: Persistent) -> _Storage:
        dtype, key, count, view = _claim(persistent)
        place, held = places[key]
        first = 0
        if view is not None:
            key, first, count = view
        if not 0 <= first <= first + count <= held:
            raise ValueError(f"the storage {key} claims more than the file holds")
        begin, end = (place + dtype.itemsize * number for number in (first, first + count))

        def read() -> bytes:
            with _mapped(file) as content:
                return content[begin:end]

        return _Storage(dtype, count, read, key)

    return root, storage_of


@contextmanager
def _mapped(file: Path) -> Iterator[mmap.mmap]:
    """Map a file: unlike one that is read, it allocates nothing for what it does not have."""
    with file.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield content
        finally:
            content.close()
