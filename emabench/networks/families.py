"""How the families of timm models are cut into blocks, and fitted to small images.

A family is two functions: ``create`` builds a model for an image size and a stem, ``blocks``
cuts it into named modules whose composition is the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """One family of architectures.

    Attributes:
        name: for example ``resnet``.
        modules: the modules of timm that define its models.
        blocks: cuts a model into ordered named modules that share its parameters.
        create: builds a model from its name, the stem, the image size in pixels and options.
    """

    name: str
    modules: tuple[str, ...]
    blocks: Callable[[Any], dict[str, nn.Module]]
    create: Callable[[str, str, int, dict[str, Any]], nn.Module]


def find_family(name: str) -> Family | None:
    """Return the family of a timm model name, or None if it stays one block."""
    module = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    return next((family for family in FAMILIES if module in family.modules), None)


class Part(nn.Module):
    """One method of a model, with only the children that the method needs.

    The part shares its parameters with the model, so that what it computes is the model's own
    code on the model's own weights.

    Args:
        model: the whole model.
        method: name of the method that ``forward`` calls, for example ``forward_head``.
        children: names of the child modules to keep; the others become the identity.
        parameters: whether the model's direct parameters (class token, positions) belong to it.
    """

    def __init__(
        self, model: nn.Module, method: str, children: set[str], *, parameters: bool
    ) -> None:
        super().__init__()
        shell = copy.copy(model)
        shell._modules = {
            name: child if name in children or child is None else nn.Identity()
            for name, child in model._modules.items()
        }
        shell._parameters = dict.fromkeys(model._parameters)
        if parameters:
            shell._parameters = dict(model._parameters)
        self.shell = shell
        self.method = method

    def forward(self, activation: Tensor) -> Tensor:
        """Apply the method to an activation of the shape that it takes."""
        return getattr(self.shell, self.method)(activation)  # type: ignore[no-any-return]


def _create_resnet(name: str, stem: str, image_size: int, options: dict[str, Any]) -> nn.Module:
    model: Any = timm.create_model(name, num_classes=0, **options)
    if stem != "original":
        stride = 2 if stem == "3x3-stride2" else 1
        model.conv1 = nn.Conv2d(3, model.bn1.num_features, 3, stride, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model  # type: ignore[no-any-return]


def _resnet_blocks(model: Any) -> dict[str, nn.Module]:
    head = [model.global_pool]
    if model.drop_rate:
        head.append(nn.Dropout(float(model.drop_rate)))
    return {
        "stem": nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool),
        "layer1": model.layer1,
        "layer2": model.layer2,
        "layer3": model.layer3,
        "layer4": nn.Sequential(model.layer4, *head),
    }


def _create_vit(name: str, stem: str, image_size: int, options: dict[str, Any]) -> nn.Module:
    fitted: dict[str, Any] = {"img_size": image_size}
    if stem != "original":
        fitted["patch_size"] = max(2, image_size // (8 if stem == "3x3" else 4))
    return timm.create_model(name, num_classes=0, **(fitted | options))


def _vit_blocks(model: Any) -> dict[str, nn.Module]:
    before = {"patch_embed", "pos_drop", "patch_drop", "norm_pre"}
    after = set(model._modules) - before - {"blocks", "norm"}
    blocks: dict[str, nn.Module] = {
        "stem": Part(model, "forward_features", before, parameters=True)
    }
    for index, block in enumerate(model.blocks, start=1):
        blocks[f"block{index}"] = block
    last = f"block{len(model.blocks)}"
    head = Part(model, "forward_head", after, parameters=False)
    blocks[last] = nn.Sequential(blocks[last], model.norm, head)
    return blocks


FAMILIES = (
    Family("resnet", ("resnet",), _resnet_blocks, _create_resnet),
    Family("vit", ("vision_transformer", "deit"), _vit_blocks, _create_vit),
)
"""Every family that is cut; a model of no family is one block."""
