"""Convolutions over maps of a pixel or two, whose gradients torch computes wrongly on a CPU.

Where most taps of a kernel meet no pixel, the bfloat16 kernels of oneDNN (torch 2.14) leave numbers
in the gradient of the weights that were never written: a stride over a single pixel, kernels of 5
over one, of 7 over two. Outputs and the gradients of inputs are right, and so is float32. These
convolutions are therefore computed in float32; all others are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn

from emabench.device import Device
from emabench.networks.exactness import no_trace


def is_miscomputed(convolution: nn.Conv2d, map_shape: torch.Size) -> bool:
    """Whether torch's gradient of the weights in bfloat16 cannot be relied on.

    Args:
        convolution: the layer.
        map_shape: of its input, [N, C, H, W].
    """
    kernel, side = max(convolution.kernel_size), min(map_shape[-2:])
    if side == 1 and kernel > 1 and max(convolution.stride) > 1:
        return True
    return convolution.groups == 1 and ((kernel >= 5 and side == 1) or (kernel >= 7 and side == 2))


def has_miscomputed(device: Device, model: nn.Module, sizes: Iterable[int]) -> bool:
    """Whether a model has such convolutions for images of some sizes, on this device.

    Args:
        device: where it will be trained, and in which precision.
        model: maps images [N, 3, S, S] to features.
        sizes: sides of its images in pixels.
    """
    if device.kind != "cpu" or device.precision != "bf16":
        return False
    found = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d):
            found.append(is_miscomputed(module, inputs[0].shape))

    hook = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        with no_trace((model,), device.torch):
            for size in sizes:
                model(torch.zeros(1, 3, size, size))
    finally:
        hook.remove()
    return any(found)


def mend_convolutions(module: nn.Module) -> None:
    """Have such convolutions of a module, if any, computed in float32 from now on, in place.

    A copy of the module is mended too: it is the class of a layer that changes.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1:
            layer.__class__ = _mended(type(layer))  # type: ignore[arg-type]


@cache
def _mended(of: type[nn.Conv2d]) -> type[nn.Conv2d]:
    class Mended(of):  # type: ignore[valid-type,misc]
        def forward(self, images: Tensor) -> Tensor:
            if not is_miscomputed(self, images.shape):
                return super().forward(images)  # type: ignore[no-any-return]
            with torch.autocast(images.device.type, enabled=False):
                return super().forward(images.float())  # type: ignore[no-any-return]

    Mended.__name__ = Mended.__qualname__ = of.__name__
    return Mended
