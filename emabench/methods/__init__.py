"""Self-supervised methods, one file each: the file's name is the method's name."""

from __future__ import annotations

import importlib
import inspect
from importlib import resources
from typing import TYPE_CHECKING

from emabench.errors import UnknownNameError

if TYPE_CHECKING:
    from emabench.methods._method import Method


def method_names() -> list[str]:
    """Return the names of all methods, sorted; imports none of them."""
    files = (f.name for f in resources.files(__name__).iterdir())
    return sorted(n.removesuffix(".py") for n in files if n.endswith(".py") and n[0] != "_")


def load_method(name: str) -> type[Method]:
    """Return the method of that name.

    Raises:
        UnknownNameError: no file defines it.
    """
    if name not in method_names():
        raise UnknownNameError("method", name, method_names())
    from emabench.methods._method import Method

    module = importlib.import_module(f"{__name__}.{name}")
    (method,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Method) and member.__module__ == module.__name__
    )
    return method
