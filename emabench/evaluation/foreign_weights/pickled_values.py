"""A pickle read as data: nothing in it is imported, looked up or called.

An unpickler does what a pickle says; this one only notes it down. What a pickle would call becomes
a ``Call`` with the name of the callee, unless it is one of the few that make what state
dictionaries are made of: ordered dictionaries, parameters and dense tensors.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Sequence, Sized
from dataclasses import dataclass, field
from typing import IO, Any

_MOST_STEPS = 5_000_000
"""Instructions of one pickle, and what its calls take, which may be the same more than once."""
_MOST_DIMENSIONS = 64
"""Of a tensor of torch."""
_ONE_VALUE = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Global:
    """A function or class that a pickle names, such as ``argparse.Namespace``."""

    name: str


@dataclass(frozen=True, eq=False)
class Persistent:
    """What a pickle keeps outside itself: for torch, a storage."""

    key: Any


@dataclass(eq=False)
class Call:
    """What a pickle would call, and was not called.

    Attributes:
        name: of the callee.
        arguments: that it would have been given.
        state: that the result would have been given.
        items: that would have been put into the result, a mapping.
    """

    name: str
    arguments: Any
    state: Any = None
    items: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A dense tensor that a pickle describes; its numbers lie in a storage outside.

    Attributes:
        storage: what the pickle says of the storage.
        offset: numbers of the storage before the first one of the tensor.
        shape: of the tensor.
        strides: numbers of the storage from one index to the next, by dimension.
    """

    storage: Persistent
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Pickle:
    """What a pickle says.

    Attributes:
        value: of plain values and those of this module.
        outside: everything that it keeps outside itself, whether the value has it or not.
        uncalled: what it would have called or built, and is not known here.
    """

    value: Any
    outside: Sequence[Persistent]
    uncalled: Collection[str]


def read_pickle(stream: IO[bytes]) -> Pickle:
    """Read one pickle, and stop behind it.

    Args:
        stream: one that never gives more than it has, such as a ``BytesIO`` or an ``mmap``.

    Returns:
        What it says. Keys of dictionaries that are no text are left out, with their values.

    Raises:
        Exception: of some kind, where it is none, or damaged, or too long.
    """
    reader = _Reader()
    for code, argument, _ in pickletools.genops(stream):
        reader.do(code.name, argument)
    (value,) = reader.stack
    return Pickle(value, reader.outside, reader.uncalled)


class _Reader:
    """The stack and the memo of a pickle, and what each instruction does to them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outside: list[Persistent] = []
        self.uncalled: set[str] = set()
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0

    def do(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        self._count(1)
        if name in _ONE_VALUE:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self._top(_TUPLES[name]))]
        elif name not in ("PROTO", "FRAME", "STOP"):
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise ValueError(f"the instruction {name}")
            handler(argument)

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise ValueError(f"a pickle of more than {_MOST_STEPS} steps")

    def _top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("too little on the stack")
        return self.stack[-count:]

    # What follows is named after the instructions.

    def _mark(self, _: None) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _pop_mark(self, _: None) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _pop(self, _: None) -> None:
        self.stack.pop()

    def _dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, index: int) -> None:
        self._memo[index] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    _binget = _long_binget = _get

    def _tuple(self, _: None) -> None:
        items = tuple(self._pop_mark(None))
        self.stack.append(items)

    def _list(self, _: None) -> None:
        items = self._pop_mark(None)
        self.stack.append(items)

    _frozenset = _list

    def _dict(self, _: None) -> None:
        items = self._pop_mark(None)
        self.stack.append({})
        self._set_all(items)

    def _append(self, _: None) -> None:
        self._add_all([self.stack.pop()])

    def _appends(self, _: None) -> None:
        self._add_all(self._pop_mark(None))

    _additems = _appends

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_all([key, value])

    def _setitems(self, _: None) -> None:
        self._set_all(self._pop_mark(None))

    def _add_all(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if isinstance(into, list):
            into += items
        elif not isinstance(into, Call):
            raise ValueError("something is added to what is no list")

    def _set_all(self, items: list[Any]) -> None:
        into = self.stack[-1]
        target = into.items if isinstance(into, Call) else into
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("something is put into what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, str):  # others name no tensor, and may be slow to compare
                target[key] = value

    def _global(self, name: str) -> None:
        self.stack.append(Global(".".join(name.split(" ", 1))))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global that is no name")
        self.stack.append(Global(f"{module}.{name}"))

    def _inst(self, name: str) -> None:
        arguments = tuple(self._pop_mark(None))
        self.stack.append(self._called(Global(".".join(name.split(" ", 1))), arguments))

    def _obj(self, _: None) -> None:
        callee, *arguments = self._pop_mark(None)
        self.stack.append(self._called(callee, tuple(arguments)))

    def _reduce(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        self.stack.append(self._called(callee, arguments))

    _newobj = _reduce

    def _newobj_ex(self, _: None) -> None:
        self.stack.pop()
        self._reduce(None)

    def _build(self, _: None) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Call):
            self.stack[-1].state = state

    def _binpersid(self, _: None) -> None:
        self.stack.append(Persistent(self.stack.pop()))
        self.outside.append(self.stack[-1])

    def _called(self, callee: Any, arguments: Any) -> Any:
        """Return what a known callee makes of its arguments; of others, that they were named."""
        if not isinstance(callee, Global):  # the result of a call: nobody knows what it is
            return Call("", arguments)
        build = _BUILDERS.get(callee.name)
        if build is not None:
            self._count(len(arguments) + sum(len(a) for a in arguments if isinstance(a, Sized)))
            return build(*arguments)
        self.uncalled.add(callee.name)
        return Call(callee.name, arguments)


def _ordered(pairs: Any = ()) -> dict[str, Any]:
    return {key: value for key, value in _row(pairs) if isinstance(key, str)}


def _row(values: Any = ()) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple):
        raise ValueError("a row of values that is none")
    return tuple(values)


def _dense(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("a tensor without a shape")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor without a shape")
    if not isinstance(storage, Persistent):
        raise ValueError("a tensor without a storage")
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> Any:
    return data


_BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _dense,
    "torch._utils._rebuild_tensor_v2": _dense,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _row,
}
