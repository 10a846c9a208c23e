"""What a family of models is, and the pieces that its cut is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from emabench.networks.token_grid import TokenGrid


def _no_arguments(name: str, stem: str, image_size: int) -> dict[str, Any]:
    return {}


def _no_edits(model: Any, stem: str) -> dict[str, nn.Module]:
    return {}


def _no_tokens(model: Any) -> TokenGrid | None:
    return None


def _classifier(model: Any) -> nn.Module:
    found = model.get_classifier()
    return nn.ModuleList(found) if isinstance(found, tuple) else found


@dataclass(frozen=True)
class Family:
    """One family of architectures.

    Attributes:
        name: for example ``resnet``.
        modules: the modules that define its models and their classes, by their full paths.
        blocks: cuts a model into ordered named modules that share its parameters and buffers.
        arguments: keyword arguments of ``timm.create_model`` that fit a model, given by name, to
            a stem and an image size in pixels.
        edits: new modules by their path in the model, which fit a built model to a stem.
        classifier: the part of a model that makes classes of features; without parameters where
            it was left out.
        any_size: keyword arguments for models that shall take images of any size.
        tokens: the grid of tokens that a model makes of an image. The last of its blocks then is a
            sequence whose last module pools them.
    """

    name: str
    modules: tuple[str, ...]
    blocks: Callable[[Any], dict[str, nn.Module]]
    arguments: Callable[[str, str, int], dict[str, Any]] = _no_arguments
    edits: Callable[[Any, str], dict[str, nn.Module]] = _no_edits
    classifier: Callable[[Any], nn.Module] = _classifier
    any_size: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tokens: Callable[[Any], TokenGrid | None] = _no_tokens


class Part(nn.Module):
    """One method of a model, with only the children that the method needs.

    The part shares its parameters with the model, so that what it computes is the model's own
    code on the model's own weights.

    Args:
        model: the whole model.
        method: name of the method that ``forward`` calls, for example ``forward_head``.
        children: names of the child modules to keep; the others become the identity.
        parameters: whether the model's direct parameters (class token, positions) and buffers
            belong to it.
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
        for tensors in ("_parameters", "_buffers"):
            own = getattr(model, tensors)
            setattr(shell, tensors, dict(own) if parameters else dict.fromkeys(own))
        self.shell = shell
        self.method = method

    def forward(self, activation: Tensor) -> Tensor:
        """Apply the method to an activation of the shape that it takes."""
        return getattr(self.shell, self.method)(activation)  # type: ignore[no-any-return]


def stages(stem: nn.Module, parts: list[nn.Module], head: list[nn.Module]) -> dict[str, nn.Module]:
    """Return the blocks ``stem, stage1 … stageN``; the head joins the last stage."""
    blocks = {"stem": stem}
    for index, part in enumerate(parts, start=1):
        blocks[f"stage{index}"] = part
    last = f"stage{len(parts)}"
    blocks[last] = nn.Sequential(blocks[last], *head)
    return blocks


def small_convolution(channels: int, stem: str) -> nn.Conv2d:
    """Return the first convolution of the stem ``3x3`` or ``3x3-stride2``.

    It is initialised as in timm's networks with BatchNorm: He's normal, by the fan out.
    """
    stride = 2 if stem == "3x3-stride2" else 1
    convolution = nn.Conv2d(3, channels, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
