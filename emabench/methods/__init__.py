"""Self-supervised methods, one file each: the file's name is the method's name.

Those from outside the package are plugins; the same class works as either.
"""

from __future__ import annotations

import importlib
import inspect
from importlib import resources
from types import ModuleType
from typing import TYPE_CHECKING

from emabench.errors import PluginError
from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import PluginKind
from emabench.extensions.plugin_shelf import PluginShelf

if TYPE_CHECKING:
    from emabench.methods._method import Method


def method_names() -> list[str]:
    """Return the names of the built-in methods, sorted; imports none of them."""
    files = (f.name for f in resources.files(__name__).iterdir())
    return sorted(n.removesuffix(".py") for n in files if n.endswith(".py") and n[0] != "_")


def load_method(name: str) -> type[Method]:
    """Return the method of that name, be it built in or a plugin.

    Raises:
        UnknownNameError: nothing defines it.
        PluginError: a plugin that has it cannot be loaded, or several have it.
    """
    found = METHOD_PLUGINS.find(name)
    if found is not None:
        return found.value
    if name not in method_names():
        return METHOD_PLUGINS.get(name, method_names).value
    (method,) = _methods_in(importlib.import_module(f"{__name__}.{name}"))
    return method


def _methods_in(module: ModuleType) -> list[type[Method]]:
    """Return the methods that a module, or a package, defines itself."""
    from emabench.methods._method import Method

    return [
        member
        for name, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Method)
        and name[0] != "_"
        and f"{member.__module__}.".startswith(f"{module.__name__}.")
    ]


def _method_of(module: ModuleType, code: PluginCode) -> dict[str, type[Method]]:
    found = _methods_in(module)
    if len(found) > 1:
        names = ", ".join(method.__name__ for method in found)
        raise PluginError(
            f"plugin {code} has several methods: {names}",
            hint="one file has one method, named for the file; _Name is no method",
        )
    return {code.stem: found[0]} if found else {}


def _checked(value: object, name: str) -> type[Method]:
    from emabench.methods._method import Method

    if isinstance(value, type) and issubclass(value, Method):
        return value
    raise TypeError(f"{value!r} is no subclass of emabench.plugin.Method")


METHOD_PLUGINS: PluginShelf[type[Method]] = PluginShelf(
    PluginKind.METHOD,
    is_taken=lambda name: name in method_names(),
    members=_method_of,
    checked=_checked,
)
"""The methods from outside the package."""
