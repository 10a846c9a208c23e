"""Which of a network's rates drop paths or units during training, and turning them off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from torch import nn

Kind = Literal["path", "unit"]

_WHOLE_PATHS = ("ResidualDrop", "StochasticDepth")
"""Modules of timm and torchvision that drop paths under another name."""


class DropRate(NamedTuple):
    """A probability with which a module drops something of what passes it."""

    module: nn.Module
    name: str
    value: float

    @property
    def kind(self) -> Kind:
        """Whether whole paths are dropped, or units of an activation (patches too)."""
        kind = type(self.module).__name__
        whole = kind in _WHOLE_PATHS or "path" in f"{kind}.{self.name}".lower()
        return "path" if whole else "unit"

    def set(self, value: float) -> None:
        """Give it another value."""
        setattr(self.module, self.name, value)


def drop_rates(*modules: nn.Module) -> list[DropRate]:
    """Return the rates above 0.

    They are numbers of modules that drop (``Dropout.p``, ``DropPath.drop_prob``) and of those that
    call functions which do (``drop_rate``): a module in evaluation mode within one in training mode
    is not enough, because fused attention reads the rate of the former in the mode of the latter.
    """
    return [
        DropRate(each, name, value)
        for module in modules
        for each in module.modules()
        for name, value in vars(each).items()
        if type(value) is float and value > 0 and _drops(each, name)
    ]


def _drops(module: nn.Module, name: str) -> bool:
    kind = type(module).__name__
    named = "drop" in kind.lower() or kind in _WHOLE_PATHS
    return "drop" in name or (named and name in ("p", "prob"))


def keep_asked_for(model: nn.Module, options: Mapping[str, Any]) -> bool:
    """Turn off the rates of a model that nobody asked for.

    Args:
        model: as timm builds it.
        options: what the user asked timm for.

    Returns:
        Whether there was one.
    """
    asked: set[Kind] = {
        "path" if "path" in name or "connect" in name else "unit"
        for name in options
        if "drop" in name
    }
    unasked = [rate for rate in drop_rates(model) if rate.kind not in asked]
    for rate in unasked:
        rate.set(0.0)
    return bool(unasked)


@contextmanager
def without_dropping(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let modules in training mode drop nothing for a while."""
    rates = drop_rates(*modules)
    try:
        for rate in rates:
            rate.set(0.0)
        yield
    finally:
        for rate in rates:
            rate.set(rate.value)
