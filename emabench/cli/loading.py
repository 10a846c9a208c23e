"""The Python lines that load a run's weights with timm alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emabench.networks.backbone import family_of
from emabench.spec.paths import value_at


def loading_code(spec: Mapping[str, Any], file: Path) -> str:
    """Return code that builds the backbone of a run and loads weights into it; needs no emabench.

    Args:
        spec: the resolved spec of the run.
        file: safetensors file of the backbone.
    """
    backbone = value_at(spec, "pretrain.backbone")
    size = value_at(spec, "pretrain.data.image_size")
    name, stem, options = backbone["name"], backbone["stem"], dict(backbone["options"])
    family = family_of(name)
    if family == "resnet" and stem != "original":
        stride = 2 if stem == "3x3-stride2" else 1
        return "\n".join(
            (
                "import timm, torch",
                f"model = timm.create_model({_arguments(name, options)})",
                "model.conv1 = torch.nn.Conv2d("
                f"3, model.bn1.num_features, 3, stride={stride}, padding=1, bias=False)",
                "model.maxpool = torch.nn.Identity()",
                f"timm.models.load_checkpoint(model, {str(file)!r})",
            )
        )
    if family == "vit":
        patches = {"3x3": 8, "3x3-stride2": 4}
        fitted = {"img_size": size}
        if stem in patches:
            fitted["patch_size"] = max(2, size // patches[stem])
        options = fitted | options
    arguments = _arguments(name, options | {"checkpoint_path": str(file)})
    return f"import timm\nmodel = timm.create_model({arguments})"


def _arguments(name: str, options: Mapping[str, Any]) -> str:
    given = {"num_classes": 0} | dict(options)
    return ", ".join([repr(name), *(f"{key}={value!r}" for key, value in given.items())])
