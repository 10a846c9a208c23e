"""Backbones from outside the package: a plugin registers them with timm when it is loaded."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import timm
from torch import nn

from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import PluginKind
from emabench.extensions.plugin_shelf import PluginShelf
from emabench.spec.pretrain import SMALL_NETWORKS

PIXELS = "pixels"
"""The backbone without weights: its features are the raw pixels. A floor for every comparison."""

Constructor = Callable[..., nn.Module]


def known_backbone(name: str) -> bool:
    """Load the plugin of a backbone if it is one; return whether it is.

    Raises:
        UnknownNameError: neither timm nor a plugin has it.
        PluginError: the plugin cannot be loaded, or several have it.
    """
    found = BACKBONE_PLUGINS.find(name)
    if found is not None:
        if timm.models.model_entrypoint(name) is not found.value:  # its file was changed, and back
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                timm.models.register_model(found.value)
        return True
    if not _is_built_in(name):
        BACKBONE_PLUGINS.get(name, lambda: [PIXELS, *SMALL_NETWORKS, *timm.list_models()])
    return False


def _is_built_in(name: str) -> bool:
    if name == PIXELS or name in SMALL_NETWORKS:
        return True
    return timm.is_model(name) and _module_of(name).startswith("timm.")


def _module_of(name: str) -> str:
    constructor: Any = timm.models.model_entrypoint(name)
    return str(constructor.__module__)


def _registered_by(module: ModuleType, code: PluginCode) -> dict[str, Constructor]:
    """Return the models of timm that a module, or a package, registered itself."""
    found: dict[str, Any] = {
        name: timm.models.model_entrypoint(name) for name in timm.list_models()
    }
    # Of a file that was changed timm has the last state alone, and the module its own.
    found |= {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name == function.__name__ and timm.is_model(name) and not _is_built_in(name)
    }
    return {
        name: function
        for name, function in found.items()
        if f"{function.__module__}.".startswith(f"{module.__name__}.")
    }


def _checked(value: object, name: str) -> Constructor:
    if not timm.is_model(name):
        raise TypeError(f"it registers no model {name} with timm")
    return timm.models.model_entrypoint(name)


BACKBONE_PLUGINS: PluginShelf[Constructor] = PluginShelf(
    PluginKind.BACKBONE, is_taken=_is_built_in, members=_registered_by, checked=_checked
)
"""The backbones from outside the package."""
