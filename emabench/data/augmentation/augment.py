"""The random views of a batch, made on the device: uint8 in, normalised channels-last out.

Order of the operations, as published: crop, colour jitter, grey, blur, solarise, flip. The flip
commutes with all that precede it, so it is folded into the weights of the crop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from emabench.data.augmentation import blur, colour
from emabench.data.augmentation.crop import AxisResampler, resized_crop
from emabench.data.augmentation.parameters import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    ViewParameters,
    sample_parameters,
)
from emabench.spec.data import ViewSpec

__all__ = ["Augmenter", "ViewParameters", "normalize"]

_CHUNK_PIXELS = 2**16


class Augmenter:
    """Makes one random view of each image of a batch.

    Every image has parameters of its own; only the order of brightness, contrast, saturation
    and hue is drawn once per batch. The parameters come from a CPU generator, so a seed gives
    the same views on every device. Nothing here waits for the device.

    Args:
        view: what is drawn, and how strong.
        size: side of the views in pixels.
        mean: mean of red, green and blue, in 0..1.
        std: standard deviation of red, green and blue, in 0..1.
        device: where the images lie and the work is done.
    """

    def __init__(
        self,
        view: ViewSpec,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> None:
        self.view, self.size, self.device = view, size, torch.device(device)
        self.mean, self.std = tuple(mean), tuple(std)
        self._resamplers: dict[int, AxisResampler] = {}

    def sample(
        self, n: int, generator: torch.Generator, *, source: tuple[int, int] | None = None
    ) -> ViewParameters:
        """Draw the parameters of ``n`` views.

        Args:
            n: number of images.
            generator: a CPU generator, the only source of randomness.
            source: height and width of the images in pixels; None: they have the views' size.

        Raises:
            ValueError: the generator is not on the CPU.
        """
        source = source or (self.size, self.size)
        return sample_parameters(self.view, n, source, generator)

    def apply(self, images: Tensor, parameters: ViewParameters) -> Tensor:
        """Make the views that the parameters describe.

        Args:
            images: uint8 ``[n, H, W, 3]`` on the device.
            parameters: drawn for ``n`` images of this height and width.

        Returns:
            float32 ``[n, 3, size, size]``, channels-last, normalised.

        Raises:
            ValueError: the parameters were drawn for other images.
        """
        n, height, width, _ = images.shape
        if (height, width) != parameters.source or n != len(parameters):
            raise ValueError(
                f"parameters for {len(parameters)} images of {parameters.source} pixels, "
                f"but {n} of {(height, width)} came"
            )
        result = _channels_last(n, self.size, self.size, images.device)
        # On a CPU the work goes faster in pieces that stay in the cache of each core.
        chunk = n
        if images.device.type == "cpu":
            chunk = max(1, torch.get_num_threads() * _CHUNK_PIXELS // self.size**2)
        for start in range(0, n, max(1, chunk)):
            stop = min(start + chunk, n)
            part = parameters.rows(start, stop) if chunk < n else parameters
            views = self._views(images[start:stop], part)
            _normalize_into(result[start:stop], views, self.mean, self.std)
        return result

    def __call__(
        self, images: Tensor, generator: torch.Generator, part: slice | None = None
    ) -> Tensor:
        """Draw parameters for ``images`` (uint8 ``[n, H, W, 3]``) and apply them.

        Args:
            images: the whole batch.
            generator: a CPU generator.
            part: only these images are augmented, each as if all were.
        """
        source = (images.shape[1], images.shape[2])
        parameters = self.sample(len(images), generator, source=source)
        if part is not None and part != slice(0, len(images)):
            images, parameters = images[part], parameters.rows(part.start, part.stop)
        return self.apply(images, parameters)

    def _views(self, images: Tensor, p: ViewParameters) -> Tensor:
        """Return the views before normalisation, float32 ``[n, 3, size, size]`` in 0..255."""
        vertical = self._resampler(p.source[0])(p.top, p.height)
        horizontal = self._resampler(p.source[1])(p.left, p.width, p.flip)
        views = resized_crop(images, vertical, horizontal)
        views = _on_rows(views, p.jitter, lambda x, rows: self._jitter(x, rows, p))
        views = _on_rows(views, p.grey, lambda x, _: colour.to_grey(x))
        views = _on_rows(views, p.blur, lambda x, rows: self._blur(x, rows, p))
        threshold = self.view.solarize_threshold
        return _on_rows(views, p.solarize, lambda x, _: colour.solarize(x, threshold))

    def _jitter(self, views: Tensor, rows: Tensor, p: ViewParameters) -> Tensor:
        factors = torch.stack([p.brightness, p.contrast, p.saturation, p.hue])[:, rows]
        factors = factors.to(views.device, non_blocking=True)
        operations = {
            BRIGHTNESS: (colour.adjust_brightness, self.view.brightness),
            CONTRAST: (colour.adjust_contrast, self.view.contrast),
            SATURATION: (colour.adjust_saturation, self.view.saturation),
            HUE: (colour.adjust_hue, self.view.hue),
        }
        for which in p.order.tolist():
            operation, strength = operations[which]
            if strength > 0:
                views = operation(views, factors[which])
        return views

    def _blur(self, views: Tensor, rows: Tensor, p: ViewParameters) -> Tensor:
        sigma = p.sigma[rows].to(views.device, non_blocking=True)
        return blur.gaussian_blur(views, sigma, blur.kernel_size(self.size))

    def _resampler(self, source: int) -> AxisResampler:
        if source not in self._resamplers:
            self._resamplers[source] = AxisResampler(source, self.size, self.device)
        return self._resamplers[source]


def _on_rows(
    views: Tensor, selected: Tensor, operation: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Apply an operation to the rows that ``selected`` (bool, on the CPU) names."""
    rows = selected.nonzero()[:, 0]
    if len(rows) == 0:
        return views
    if len(rows) == len(views):
        return operation(views, rows)
    index = rows.to(views.device, non_blocking=True)
    return views.index_copy_(0, index, operation(views.index_select(0, index), rows))


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale and normalise images without augmenting them.

    Args:
        images: uint8 ``[n, H, W, 3]``.
        mean: mean of red, green and blue, in 0..1.
        std: standard deviation of red, green and blue, in 0..1.

    Returns:
        float32 ``[n, 3, H, W]``, channels-last, on the device of the images.
    """
    n, height, width, _ = images.shape
    result = _channels_last(n, height, width, images.device)
    _normalize_into(result, images.permute(0, 3, 1, 2), mean, std)
    return result


def _channels_last(n: int, height: int, width: int, device: torch.device) -> Tensor:
    return torch.empty(n, 3, height, width, device=device, memory_format=torch.channels_last)


def _normalize_into(
    result: Tensor, images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Write images (0..255) into ``result`` normalised, channel by channel in one pass each."""
    for channel, (centre, spread) in enumerate(zip(mean, std, strict=True)):
        plane = result[:, channel]
        offset = plane.new_full((1,), -centre / spread)
        torch.add(offset, images[:, channel], alpha=1 / (255 * spread), out=plane)
