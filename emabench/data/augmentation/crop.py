"""The random resized crop: boxes drawn as torchvision draws them, weights as Pillow computes them.

A crop followed by an antialiased resize is linear and separable, so it is two small matrix
products per image. The weights of a crop depend on its length only and shift with its start;
for small images they are therefore looked up rather than computed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from emabench.spec.data import ViewSpec

_ATTEMPTS = 10
_TABLE_BYTES = 16 * 2**20


def sample_boxes(
    view: ViewSpec, n: int, source: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw crop boxes with the distribution of torchvision's ``RandomResizedCrop``.

    Ten boxes are tried per sample; the first that fits counts, else the largest centred box
    whose ratio lies within the bounds.

    Args:
        view: bounds of the area share and of the ratio width ÷ height.
        n: number of boxes.
        source: height and width of the images, in pixels.
        generator: a CPU generator.

    Returns:
        top, left, height and width in pixels, each int64 ``[n]`` on the CPU.
    """
    rows, columns = source
    uniform = torch.rand(4, n, _ATTEMPTS, generator=generator, dtype=torch.float64)
    low, high = view.crop_scale
    area = rows * columns * (low + (high - low) * uniform[0])
    log_low, log_high = math.log(view.crop_ratio[0]), math.log(view.crop_ratio[1])
    ratio = torch.exp(log_low + (log_high - log_low) * uniform[1])
    widths = (area * ratio).sqrt().round().long()
    heights = (area / ratio).sqrt().round().long()
    fits = (widths > 0) & (widths <= columns) & (heights > 0) & (heights <= rows)
    first = fits.int().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1)
    width, height = widths.gather(1, first)[:, 0], heights.gather(1, first)[:, 0]
    top = (uniform[2, :, 0] * (rows - height + 1)).floor().long()
    left = (uniform[3, :, 0] * (columns - width + 1)).floor().long()
    # The centred box of torchvision, for the samples that found none.
    centre_h, centre_w = _central_box(view.crop_ratio, rows, columns)
    return (
        torch.where(found, top, (rows - centre_h) // 2),
        torch.where(found, left, (columns - centre_w) // 2),
        torch.where(found, height, centre_h),
        torch.where(found, width, centre_w),
    )


def _central_box(ratio: tuple[float, float], rows: int, columns: int) -> tuple[int, int]:
    """Return height and width of the largest box with a ratio within the bounds."""
    if columns / rows < ratio[0]:
        return max(1, min(rows, round(columns / ratio[0]))), columns
    if columns / rows > ratio[1]:
        return rows, max(1, min(columns, round(rows * ratio[1])))
    return rows, columns


def resize_weights(start: Tensor, length: Tensor, source: int, size: int) -> Tensor:
    """Return the antialiased bicubic weights of crops along one axis.

    The kernel is Keys' cubic with a = -1/2, widened by the scale when the crop shrinks, cut at
    the border of the crop and normalised: Pillow's rule, which torchvision's antialias follows.

    Args:
        start: first pixel of each crop, int64 ``[n]``.
        length: pixels in each crop, int64 ``[n]``.
        source: pixels along this axis of the source.
        size: pixels along this axis of the result.

    Returns:
        float32 ``[n, source, size]``; a row per source pixel, each column sums to 1.
    """
    scale = length.to(torch.float32) / size
    output = torch.arange(size, device=start.device, dtype=torch.float32)
    centre = start[:, None] + (output + 0.5) * scale[:, None]
    pixel = torch.arange(source, device=start.device)
    distance = (pixel[None, :, None] + 0.5 - centre[:, None, :]).abs_()
    distance /= scale.clamp_min(1.0)[:, None, None]
    outer = (2.0 - distance).clamp_min_(0.0)
    inner = (outer - 1.0).clamp_min_(0.0)
    # Twice Keys' kernel, written with u = outer, v = inner: u²(u - 1) + v²(2 - 4v).
    weights = outer.square() * (outer - 1.0) + inner.square() * (2.0 - 4.0 * inner)
    inside = (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
    weights *= inside[:, :, None]
    return weights / weights.sum(dim=1, keepdim=True)


class AxisResampler:
    """Gives the weights of any crop along one axis, from a table where it is small enough.

    Args:
        source: pixels along this axis of the source.
        size: pixels along this axis of the result.
        device: where the weights are needed.
    """

    def __init__(self, source: int, size: int, device: torch.device) -> None:
        self.source, self.size, self.device = source, size, device
        self._windows: Tensor | None = None
        if 2 * source * (source + 1) * size * 4 <= _TABLE_BYTES:
            self._windows = self._build_windows()

    def _build_windows(self) -> Tensor:
        """Return a view whose row ``(flip · (source+1) + length) · source - start`` is a crop.

        The crop of length L is stored with source - L zero rows behind it, which are at the
        same time the zero rows in front of the next; a window that begins ``start`` rows
        earlier is the same crop shifted by ``start``.
        """
        lengths = torch.arange(1, self.source + 1)
        plain = resize_weights(torch.zeros_like(lengths), lengths, self.source, self.size)
        padding = torch.zeros(1, self.source, self.size)
        rows = torch.cat([padding, plain, padding, plain.flip(2)]).to(self.device)
        count = (rows.shape[0] - 1) * self.source + 1
        width = self.source * self.size
        return rows.as_strided((count, width), (self.size, 1))

    def __call__(self, start: Tensor, length: Tensor, flip: Tensor | None = None) -> Tensor:
        """Return the weights of one crop per sample.

        Args:
            start: first pixel, int64 ``[n]`` on the CPU.
            length: pixels, int64 ``[n]`` on the CPU.
            flip: whether the result is mirrored, bool ``[n]`` on the CPU; None mirrors nothing.

        Returns:
            float32 ``[n, source, size]`` on the device.
        """
        if self._windows is not None:
            row = length * self.source - start
            if flip is not None:
                row = row + flip * (self.source * (self.source + 1))
            windows = self._windows.index_select(0, row.to(self.device, non_blocking=True))
            return windows.view(-1, self.source, self.size)
        start = start.to(self.device, non_blocking=True)
        length = length.to(self.device, non_blocking=True)
        weights = resize_weights(start, length, self.source, self.size)
        if flip is None:
            return weights
        mirrored = flip.to(self.device, non_blocking=True)[:, None, None]
        return torch.where(mirrored, weights.flip(2), weights)


def resized_crop(images: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Apply one crop per image.

    Args:
        images: uint8 ``[n, H, W, 3]``.
        vertical: weights ``[n, H, size]``.
        horizontal: weights ``[n, W, size]``.

    Returns:
        float32 ``[n, 3, size, size]`` in 0..255, contiguous.
    """
    n, height, width, _ = images.shape
    size = vertical.shape[2]
    # Rows first, on the interleaved pixels: one product for all three channels.
    pixels = images.to(torch.float32).view(n, height, width * 3)
    rows = torch.bmm(vertical.transpose(1, 2), pixels).view(n, size, width, 3)
    planes = rows.permute(0, 3, 1, 2).reshape(n, 3 * size, width)
    result = torch.bmm(planes, horizontal).view(n, 3, size, size)
    return result.clamp_(0.0, 255.0)
