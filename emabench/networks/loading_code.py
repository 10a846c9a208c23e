"""The Python lines that load a run's weights with timm alone, and a plugin if it has its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch

from emabench.errors import SpecError
from emabench.networks.backbone import fitted_modules, fitted_options
from emabench.networks.backbone_plugins import BACKBONE_PLUGINS, PIXELS, known_backbone
from emabench.spec import BackboneSpec
from emabench.spec.paths import value_at


def loading_code(spec: Mapping[str, Any], file: Path) -> str:
    """Return code that builds the backbone of a run and loads weights into it; needs no emabench.

    Only the backbone of a plugin needs that: the first line runs it.

    Args:
        spec: the resolved spec of the run.
        file: safetensors file of the backbone.

    Raises:
        SpecError: the backbone has no weights.
        UnknownNameError: neither timm nor a plugin has such a backbone.
        PluginError: its plugin cannot be loaded.
    """
    backbone = value_at(spec, "pretrain.backbone")
    size = value_at(spec, "pretrain.data.image_size")
    fields = {name: backbone[name] for name in ("name", "stem", "options")}
    built = BackboneSpec.parse(fields, what="backbone").as_timm()
    if built.name == PIXELS:
        raise SpecError(
            f"backbone {PIXELS} has no weights to load",
            hint="its features are the pixels themselves: images.flatten(1)",
        )
    known_backbone(built.name)
    options = fitted_options(built, size)
    with torch.device("meta"):  # the shapes tell enough
        model = timm.create_model(built.name, num_classes=0, **options)
        edits = fitted_modules(built, model, size)
    if not edits:
        arguments = _arguments(built.name, options | {"checkpoint_path": str(file)})
        lines = (*_plugin_lines(built.name), f"model = timm.create_model({arguments})")
        return "\n".join(("import timm", *lines))
    return "\n".join(
        (
            "import timm, torch",
            f"model = timm.create_model({_arguments(built.name, options)})",
            *(f"model.set_submodule({path!r}, torch.nn.{new!r})" for path, new in edits.items()),
            f"timm.models.load_checkpoint(model, {str(file)!r})",
        )
    )


def _plugin_lines(name: str) -> tuple[str, ...]:
    plugin = BACKBONE_PLUGINS.find(name)
    if plugin is None:
        return ()
    if not plugin.code.is_file:
        return (f"import {plugin.code.place}",)
    arguments = f"{plugin.code.place!r}, run_name={plugin.code.stem!r}"
    return ("import runpy", f"runpy.run_path({arguments})")


def _arguments(name: str, options: Mapping[str, Any]) -> str:
    given = {"num_classes": 0} | dict(options)
    return ", ".join([repr(name), *(f"{key}={value!r}" for key, value in given.items())])
