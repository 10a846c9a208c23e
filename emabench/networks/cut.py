"""A model of one's own, cut into named blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from emabench.errors import UsageError, first_line
from emabench.networks.exactness import is_exact
from emabench.networks.families import Family, family_by_class
from emabench.networks.wrapping import unwrapped

_SIZE = 64
"""Side of the images that a model is tried on, in pixels, where it takes any size."""
_ONE_BLOCK = "or leave it whole: {'backbone': model} is a block too"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def cut(model: nn.Module, images: Tensor | None = None) -> dict[str, nn.Module]:
    """Cut a model into blocks that share its weights, and are the model one after another.

    ResNet, ResNeXt, ViT, DeiT, ConvNeXt, EfficientNet, MobileNet, RegNet and Swin of timm, and the
    ResNets of torchvision, are known by the module that defines their class. Any other model, a
    subclass of one of them too, stays whole.

    Cut last: load weights, move the model to its device and convert it before, because both may
    put new tensors in the place of those that the blocks share; wrap in DDP and compile what is
    made of the blocks.

    Args:
        model: without a classifier (``num_classes=0``), in any mode. DataParallel, DDP and
            ``torch.compile`` are taken off.
        images: what to try the blocks on, [N, C, H, W]; images of the model's own channels, size,
            type and device if left out. Modes, buffers and random states are as before afterwards;
            hooks inside the blocks see two passes.

    Returns:
        The blocks by name, first to last; ``{"backbone": model}`` for a model that is not known.
        Images [N, C, H, W] → features [N, D].

    Raises:
        UsageError: a known model is not what its blocks would be (a classifier or a hook is on it),
            or is sharded by FSDP; the hint says what to change.
    """
    model = unwrapped(model)
    family = family_by_class(type(model))
    if family is None:
        return {"backbone": model}
    kind = type(model).__name__
    try:
        _check(model, family)
        blocks = family.blocks(model)
        _check_hooks(model, blocks)
        exact = is_exact(model, blocks, _ramp_for(model) if images is None else images)
    except UsageError:
        raise
    except Exception as error:  # of a model that is not built as its family is, or of the images
        reason = first_line(error)
        raise UsageError(
            f"{kind} cannot be cut: {reason}", hint=f"give images= that it takes, {_ONE_BLOCK}"
        ) from error
    if not exact:
        raise UsageError(
            f"the blocks of this {kind} do not compute what it computes",
            hint=f"undo what changes its forward pass, {_ONE_BLOCK}",
        )
    own = set(model.modules())
    for module in _modules(blocks):
        if module not in own:
            module.training = model.training
    return blocks


def _check(model: nn.Module, family: Family) -> None:
    """Refuse what the blocks would leave out, before they are made."""
    kind = type(model).__name__
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UsageError(f"{kind} has no weights yet (device meta)", hint="load them, then cut")
    if list(family.classifier(model).parameters()):
        raise UsageError(
            f"{kind} has its classifier on",
            hint="build it with num_classes=0, or call model.reset_classifier(0); of torchvision: "
            "model.fc = torch.nn.Identity()",
        )
    if getattr(model, "grad_checkpointing", False):
        raise UsageError(
            f"{kind} checkpoints its gradients, which its blocks would not",
            hint="call model.set_grad_checkpointing(False), and have the blocks that need it "
            "call torch.utils.checkpoint",
        )


def _check_hooks(model: nn.Module, blocks: dict[str, nn.Module]) -> None:
    """Refuse hooks on modules that no block runs."""
    run = set(_modules(blocks))
    for path, module in model.named_modules():
        if module not in run and any(getattr(module, hooks) for hooks in _HOOKS):
            where = f"on its part {path!r}" if path else "on it"
            raise UsageError(
                f"{type(model).__name__} has a hook {where}, which its blocks would not run",
                hint="remove the hook, or register it on a block or inside one",
            )


def _modules(blocks: dict[str, nn.Module]) -> Iterator[nn.Module]:
    return (module for block in blocks.values() for module in block.modules())


def _ramp_for(model: nn.Module) -> Tensor:
    """Return an image [1, C, H, W] of a model's channels, size, type and device."""
    convolution = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    sizes = getattr(getattr(model, "patch_embed", None), "img_size", None) or (_SIZE, _SIZE)
    weight = convolution.weight
    image = ramp(convolution.in_channels, *sizes)
    return image.to(weight.device, weight.dtype)


def ramp(channels: int, height: int, width: int) -> Tensor:
    """Return an image [1, C, H, W] that is not blank, and takes nothing from a random stream."""
    return torch.linspace(-1, 1, channels * height * width).view(1, channels, height, width)
