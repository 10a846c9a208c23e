"""What was drawn for each view of a batch, and the drawing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from emabench.data.augmentation.crop import sample_boxes
from emabench.spec.data import ViewSpec

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""The operations of the colour jitter, as ``ViewParameters.order`` names them."""


@dataclass(frozen=True)
class ViewParameters:
    """The random choices of one view of ``n`` images; every tensor lies on the CPU.

    They stay on the host so that the rows an operation applies to are known there: a device
    never has to tell how many there are.
    """

    source: tuple[int, int]
    """Height and width of the images that the boxes were drawn for, in pixels."""
    top: Tensor
    """First row of the crop, int64 ``[n]``."""
    left: Tensor
    """First column of the crop, int64 ``[n]``."""
    height: Tensor
    """Rows of the crop, int64 ``[n]``."""
    width: Tensor
    """Columns of the crop, int64 ``[n]``."""
    flip: Tensor
    """Whether the view is mirrored, bool ``[n]``."""
    jitter: Tensor
    """Whether the colours are changed, bool ``[n]``."""
    order: Tensor
    """Order of brightness 0, contrast 1, saturation 2, hue 3: int64 ``[4]``, one per batch."""
    brightness: Tensor
    """Factor, float32 ``[n]``; so are contrast and saturation."""
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    """Shift of the hue in turns, float32 ``[n]``."""
    grey: Tensor
    """Whether the view is made grey, bool ``[n]``."""
    blur: Tensor
    """Whether the view is blurred, bool ``[n]``."""
    sigma: Tensor
    """Standard deviation of the blur in pixels, float32 ``[n]``."""
    solarize: Tensor
    """Whether the view is solarised, bool ``[n]``."""

    def __len__(self) -> int:
        return len(self.top)

    def rows(self, start: int, stop: int) -> ViewParameters:
        """Return the parameters of the images ``start`` to ``stop``, in the order of the batch."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shared = {"source", "order"}
        return ViewParameters(
            **{name: v if name in shared else v[start:stop] for name, v in values.items()}
        )


def sample_parameters(
    view: ViewSpec, n: int, source: tuple[int, int], generator: torch.Generator
) -> ViewParameters:
    """Draw the parameters of ``n`` views with torchvision's distributions.

    Everything is drawn whatever the probabilities are, so that a spec that only adds an
    operation keeps the crops, flips and colours of the spec without it.

    Args:
        view: the bounds and probabilities.
        n: number of images.
        source: height and width of the images, in pixels.
        generator: a CPU generator; nothing else is drawn from.

    Raises:
        ValueError: the generator is not on the CPU.
    """
    if generator.device.type != "cpu":
        raise ValueError(
            f"the augmentation draws from a CPU generator, not one on {generator.device}: "
            "so every device sees the same views and none is waited for"
        )
    top, left, height, width = sample_boxes(view, n, source, generator)
    uniform = torch.rand(10, n, generator=generator)

    def factor(row: int, strength: float) -> Tensor:
        low, high = max(0.0, 1.0 - strength), 1.0 + strength
        return low + (high - low) * uniform[row]

    low, high = view.blur_sigma
    return ViewParameters(
        source=source,
        top=top,
        left=left,
        height=height,
        width=width,
        flip=uniform[0] < view.flip_probability,
        jitter=uniform[1] < view.jitter_probability,
        order=torch.randperm(4, generator=generator),
        brightness=factor(2, view.brightness),
        contrast=factor(3, view.contrast),
        saturation=factor(4, view.saturation),
        hue=view.hue * (2.0 * uniform[5] - 1.0),
        grey=uniform[6] < view.grey_probability,
        blur=uniform[7] < view.blur_probability,
        sigma=low + (high - low) * uniform[8],
        solarize=uniform[9] < view.solarize_probability,
    )
