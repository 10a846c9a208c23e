"""The plugins of installed packages, by their entry points; their code is not imported for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import PluginKind, is_plugin_name


@dataclass(frozen=True)
class EntryPointPlugin:
    """What a package says that it has.

    Attributes:
        name: of the method, the data set or the backbone.
        module: that defines it.
        attribute: the object in the module; empty for a backbone, which timm knows by its name.
        origin: the package and its version.
    """

    name: str
    module: str
    attribute: str
    origin: str

    @property
    def code(self) -> PluginCode:
        """Where its code lies."""
        return PluginCode(self.module, is_file=False)


def installed_plugins(kind: PluginKind) -> tuple[EntryPointPlugin, ...]:
    """Return the plugins of one kind that packages offer, by name."""
    return _of_group(f"emabench.{kind}s", tuple(sys.path))


@cache
def _of_group(group: str, path: tuple[str, ...]) -> tuple[EntryPointPlugin, ...]:
    found = []
    for point in entry_points(group=group):
        package = "an unknown package"
        if point.dist is not None:
            package = f"{point.dist.name} {point.dist.version}"
        if is_plugin_name(point.name):
            found.append(EntryPointPlugin(point.name, point.module, point.attr, package))
    return tuple(sorted(set(found), key=lambda each: (each.name, each.origin)))
