"""What a file of weights holds, whatever its form: tensors by name, each read when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class FoundTensor:
    """A tensor of a file, not read yet.

    Attributes:
        shape: of the tensor.
        origin: equal for the tensors of a file that have the same numbers in the same place.
        read: reads it from the file.
    """

    shape: tuple[int, ...]
    origin: Any
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class TensorFile:
    """What a file of weights holds.

    Attributes:
        tensors: by the names on the way to them, joined by points.
        others: what stands where a tensor might, and is none that can be read: its type, by name.
        uncalled: functions and classes that the file names, and that were left alone.
    """

    tensors: Mapping[str, FoundTensor]
    others: Mapping[str, str] = field(default_factory=dict)
    uncalled: tuple[str, ...] = ()
