"""The plugins of one kind: found by name, loaded when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Generic, TypeVar

from emabench.errors import PluginError, UnknownNameError
from emabench.extensions.installed_plugins import EntryPointPlugin, installed_plugins
from emabench.extensions.named_plugins import named_plugins
from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import PluginKind, PluginReference, is_plugin_name

T = TypeVar("T")


@dataclass(frozen=True)
class Plugin(Generic[T]):
    """A plugin that is loaded.

    Attributes:
        reference: its kind, name and digest.
        value: what it is.
        code: where its code lies.
        is_named: whether the user named it; if not, a package that is installed did.
    """

    reference: PluginReference
    value: T
    code: PluginCode
    is_named: bool


@dataclass(frozen=True)
class ShelfEntry:
    """A name as a list of plugins shows it.

    Attributes:
        name: of the plugin; of one that cannot be loaded, of its file or module.
        origin: the file, the module, or the package with its version.
        problem: why it cannot be used; None if it can.
    """

    name: str
    origin: str
    problem: str | None = None


class PluginShelf(Generic[T]):
    """The plugins of one kind that this process may use.

    A name belongs to emabench, to timm, or to one plugin. What a package offers under a name that
    is taken is not used; what the user names so is an error. A plugin that is broken is missing.

    Args:
        kind: what they are.
        is_taken: whether emabench or timm itself has a name.
        members: finds what a module holds, by name; raises ``PluginError`` if it holds it wrongly.
        checked: returns what an entry point leads to, given its name too, or raises ``TypeError``.
    """

    def __init__(
        self,
        kind: PluginKind,
        *,
        is_taken: Callable[[str], bool],
        members: Callable[[ModuleType, PluginCode], Mapping[str, T]],
        checked: Callable[[object, str], T],
    ) -> None:
        self.kind = kind
        self._is_taken, self._members, self._checked = is_taken, members, checked

    def find(self, name: str) -> Plugin[T] | None:
        """Return the plugin of a name; None if the name is taken by emabench or timm, or unknown.

        Raises:
            PluginError: the plugin cannot be loaded, or several have the name.
        """
        mine = [plugin for plugin in self.named() if plugin.reference.name == name]
        if self._is_taken(name):
            if mine:
                clash = self._clash(name, str(mine[0].code))
                raise PluginError(str(clash), hint="give it another name")
            return None
        offered = [each for each in installed_plugins(self.kind) if each.name == name]
        digests = {p.reference.digest: str(p.code) for p in mine}
        digests |= {each.code.digest(): each.origin for each in offered}
        if len(digests) > 1:
            raise PluginError(
                f"several plugins have a {self.kind.noun} {name}: "
                f"{', '.join(sorted(digests.values()))}",
                hint="leave one of them out, or rename it",
            )
        if mine:
            return mine[0]
        return self._load(offered[0]) if offered else None

    def get(self, name: str, built_in: Callable[[], Collection[str]]) -> Plugin[T]:
        """Return the plugin of a name that emabench itself does not have.

        Args:
            name: of the plugin.
            built_in: the names that emabench has, to propose near ones.

        Raises:
            UnknownNameError: there is none.
            PluginError: there may be, but it cannot be loaded.
        """
        found = self.find(name)
        if found is not None:
            return found
        for _, problem in self._loads():
            if problem is not None:
                raise PluginError(
                    f"unknown {self.kind.noun} {name!r}: {problem.message}", hint=problem.hint
                )
        error = UnknownNameError(
            self.kind.noun, name, [*built_in(), *(each.name for each in self.entries())]
        )
        error.hint = f"{error.hint}; --plugin FILE.py adds your own"
        raise error

    def entries(self) -> list[ShelfEntry]:
        """Return what the shelf holds by name, what cannot be used among it.

        Packages that are installed are asked for names, and not imported.
        """
        found = []
        for code, problem in self._loads():
            if problem is not None:
                found.append(ShelfEntry(code.stem, str(code), problem.message))
        for plugin in self.named():
            name, origin = plugin.reference.name, str(plugin.code)
            found.append(ShelfEntry(name, origin, self._clash(name, origin)))
        for each in installed_plugins(self.kind):
            clash = self._clash(each.name, each.origin)
            found.append(ShelfEntry(each.name, each.origin, clash))
        return sorted(set(found), key=lambda entry: (entry.name, entry.origin))

    def origin(self, name: str) -> str | None:
        """Return the file, the module or the package of a name; None if no plugin has it."""
        usable = (each for each in self.entries() if each.problem is None)
        return next((each.origin for each in usable if each.name == name), None)

    def problems(self) -> list[str]:
        """Return in a line each which of the plugins that the user named cannot be loaded."""
        return [problem.message for _, problem in self._loads() if problem is not None]

    def _clash(self, name: str, origin: str) -> str | None:
        if not self._is_taken(name):
            return None
        return f"plugin {origin} has a {self.kind.noun} {name}, which is built in"

    def named(self) -> Iterator[Plugin[T]]:
        """Yield what the user named and what can be loaded of it."""
        for code, problem in self._loads():
            if problem is None:
                module, digest = code.load()
                for name, value in self._members(module, code).items():
                    yield Plugin(PluginReference(self.kind, name, digest), value, code, True)

    def _loads(self) -> Iterator[tuple[PluginCode, PluginError | None]]:
        """Load what the user named, and yield it, with the reason if it cannot be."""
        for code in named_plugins():
            try:
                module, _ = code.load()
                for name in self._members(module, code):
                    if not is_plugin_name(name):
                        raise PluginError(
                            f"plugin {code}: {name!r} is no name for a {self.kind.noun}",
                            hint="names have letters, digits, _, . and -, and begin with a letter",
                        )
            except PluginError as error:
                yield code, error
            else:
                yield code, None

    def _load(self, offered: EntryPointPlugin) -> Plugin[T]:
        module, digest = offered.code.load()
        try:
            named = operator.attrgetter(offered.attribute)(module) if offered.attribute else module
            value = self._checked(named, offered.name)
        except (AttributeError, TypeError) as error:
            raise PluginError(
                f"{self.kind.noun} {offered.name} of {offered.origin} cannot be used: {error}",
                hint="its entry point is wrong: tell who made the package",
            ) from None
        reference = PluginReference(self.kind, offered.name, digest)
        return Plugin(reference, value, offered.code, False)
