"""The plugins that the user names: ``--plugin``, or the variable ``EMABENCH_PLUGINS``.

They stand in the environment of the process, so that the processes it starts have them too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from emabench.errors import NotFoundError, PluginError
from emabench.extensions.plugin_code import PluginCode

PLUGINS_VARIABLE = "EMABENCH_PLUGINS"
"""Files and modules, separated as the system separates paths: by ``:``, on Windows by ``;``."""


def settings_text(names: Iterable[str]) -> str:
    """Return the value of ``EMABENCH_PLUGINS`` for some files and modules; nothing is loaded.

    Args:
        names: as ``--plugin`` takes them; files are found from here and keep their place.

    Raises:
        NotFoundError: there is no such file or module.
        PluginError: one is no Python file, or its path cannot stand in the variable.
    """
    places = dict.fromkeys(PluginCode.parse(name).place for name in names if name)
    for place in places:
        if os.pathsep in place:
            raise PluginError(
                f"the plugin {place} has a {os.pathsep!r} in its path", hint="put it elsewhere"
            )
    return os.pathsep.join(places)


def use_plugins(names: Iterable[str]) -> None:
    """Use these plugins, and no others but those that are installed, from now on.

    They count for this process and for those that it starts.

    Args:
        names: files and modules, as ``--plugin`` takes them.

    Raises:
        NotFoundError: there is no such file or module.
        PluginError: one is no Python file.
    """
    os.environ[PLUGINS_VARIABLE] = settings_text(names)


@contextmanager
def with_plugins(names: Iterable[str]) -> Iterator[None]:
    """Use these plugins inside the block, as ``use_plugins`` does, and those of before after it.

    Raises:
        NotFoundError: there is no such file or module.
        PluginError: one is no Python file.
    """
    before = os.environ.get(PLUGINS_VARIABLE)
    use_plugins(names)
    try:
        yield
    finally:
        if before is None:
            del os.environ[PLUGINS_VARIABLE]
        else:
            os.environ[PLUGINS_VARIABLE] = before


def named_plugins() -> list[PluginCode]:
    """Return the code that the user named; nothing is loaded, and what is gone is left out."""
    found = []
    for text in dict.fromkeys(os.environ.get(PLUGINS_VARIABLE, "").split(os.pathsep)):
        try:
            if text:
                found.append(PluginCode.parse(text))
        except (NotFoundError, PluginError):
            continue
    return found
