"""Which plugins this process has, as jobs ask for them: by digest, and without loading any."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emabench.errors import MissingPluginError, PluginError, UnknownNameError
from emabench.extensions.installed_plugins import installed_plugins
from emabench.extensions.named_plugins import named_plugins
from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import (
    PluginKind,
    PluginReference,
    parse_references,
    references_in,
)
from emabench.extensions.plugin_shelf import Plugin, PluginShelf


def any_plugins() -> bool:
    """Whether there is any plugin at all."""
    return bool(named_plugins()) or any(installed_plugins(kind) for kind in PluginKind)


def has_plugins(references: Iterable[str]) -> bool:
    """Whether all of these plugins are here, as they lie there now."""
    return not missing_plugins(references)


def missing_plugins(references: Iterable[str]) -> list[PluginReference]:
    """Return those of the plugins that are not here, or are here in another version."""
    return [each for each in parse_references(references) if not _is_here(each)]


def check_plugins(references: Iterable[str]) -> None:
    """Check that all plugins of a job are here.

    Raises:
        MissingPluginError: one is not, or its code is another.
    """
    missing = missing_plugins(references)
    if missing:
        raise MissingPluginError(
            f"the plugin {missing[0].words} is not here, or its code is another",
            hint=NAME_IT,
        )


NAME_IT = "name its file with --plugin or EMABENCH_PLUGINS, or install its package"
"""What to do about a plugin that is missing."""


def plugins_used(*names: tuple[PluginShelf[Any], str | None]) -> list[Plugin[Any]]:
    """Return the plugins among some names, each with the shelf of its kind, once and in order.

    Raises:
        PluginError: one cannot be loaded.
    """
    found = {
        str(plugin.reference): plugin
        for shelf, name in names
        if name is not None and (plugin := shelf.find(name)) is not None
    }
    return [found[text] for text in sorted(found)]


def expect_plugins(
    title: str, identity: Mapping[str, Any], *names: tuple[PluginShelf[Any], str]
) -> list[str]:
    """Check that the plugins which a run used are here; return in a line each which have changed.

    Args:
        title: names the run in a message.
        identity: of the run.
        names: what is needed of it, each with the shelf of its kind.

    Raises:
        MissingPluginError: one is not here.
        PluginError: one cannot be loaded.
    """
    used = {(reference.kind, reference.name): reference for reference in references_in(identity)}
    changed = []
    for shelf, name in names:
        reference = used.get((shelf.kind, name))
        if reference is None:
            continue
        try:
            found = shelf.get(name, list).reference
        except UnknownNameError:
            raise MissingPluginError(
                f"{title} needs the plugin {reference.words}, which is not here", hint=NAME_IT
            ) from None
        if found != reference:
            changed.append(f"{title} had the plugin {reference.words}; its code is another by now")
    return changed


def command_with(command: str, used: Sequence[Plugin[Any]]) -> str:
    """Return a command that names the plugins it uses; packages that are installed need no word."""
    places = dict.fromkeys(plugin.code.place for plugin in used if plugin.is_named)
    return " ".join([command, *(f"--plugin {shlex.quote(place)}" for place in places)])


def _is_here(reference: PluginReference) -> bool:
    if any(
        _digest(code) == reference.digest
        and (reference.kind is not PluginKind.METHOD or code.stem == reference.name)
        for code in named_plugins()
    ):
        return True
    return any(
        each.name == reference.name and _digest(each.code) == reference.digest
        for each in installed_plugins(reference.kind)
    )


def _digest(code: PluginCode) -> str | None:
    try:
        return code.digest()
    except PluginError:
        return None
