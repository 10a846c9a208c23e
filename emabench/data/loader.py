"""The batches of an epoch, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emabench.data.cache.image_rows import FileImages, Images
from emabench.data.images import ImageSet
from emabench.data.reading import one_ahead, read_batches
from emabench.device import Upload
from emabench.errors import SpecError
from emabench.spec.streams import derive

_RESIDENT_BYTES = 4 * 2**30
_COPY_ROWS = 4096


@dataclass(frozen=True)
class Batch:
    """Some images of an epoch."""

    indices: Tensor
    """Which images of the set these are, int64 ``[B]``, on the CPU."""
    images: Tensor
    """uint8 ``[B, S, S, 3]`` on the device."""
    labels: Tensor
    """int64 ``[B]`` on the device."""


class EpochLoader:
    """Gives the batches of any epoch, from its beginning or from the middle.

    On an accelerator the images lie there as one uint8 tensor if they take at most 4 GiB and are
    kept anywhere; otherwise each batch is gathered, or decoded, on the CPU, for an accelerator one
    batch ahead of the step that needs it.

    Args:
        images: the images and labels.
        batch_size: images in a batch; what is left at the end of an epoch is dropped.
        seed: the seed of the run.
        device: where the batches are needed.

    Raises:
        SpecError: a batch is larger than the data.
    """

    def __init__(self, images: ImageSet, batch_size: int, seed: int, device: torch.device) -> None:
        if batch_size > len(images):
            raise SpecError(
                f"batch_size={batch_size}, but there are only {len(images)} images",
                hint=f"set batch_size to at most {len(images)}",
            )
        if batch_size < 1:
            raise SpecError(f"batch_size={batch_size}", hint="a batch has at least one image")
        self.batch_size, self.seed, self.device = batch_size, seed, torch.device(device)
        self._images = images.images
        self._count = len(images)
        self._labels = torch.tensor(images.labels, dtype=torch.int64).to(self.device)
        self._resident: Tensor | None = None
        kept = not isinstance(self._images, FileImages)
        if self.device.type != "cpu" and kept and self._images.nbytes <= _RESIDENT_BYTES:
            self._resident = _copy_to(self._images, self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Number of full batches."""
        return self._count // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        Args:
            epoch: counts from 0; draws the order together with the seed.
            start: number of batches to leave out at the beginning, for a run that goes on; the
                rest is what the uninterrupted epoch would have given.
        """
        if start < 0:
            raise ValueError(f"start={start} is negative")
        generator = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        order = torch.randperm(self._count, generator=generator)
        batches = order[: self.steps_per_epoch * self.batch_size].split(self.batch_size)[start:]
        for indices, images in zip(batches, self._images_of(batches), strict=True):
            where = indices.to(self.device, non_blocking=True)
            yield Batch(indices, images, self._labels.index_select(0, where))

    def _images_of(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the images of each batch, on the device."""
        if self._resident is not None:
            for indices in batches:
                where = indices.to(self.device, non_blocking=True)
                yield self._resident.index_select(0, where)
            return
        upload = Upload(self.device)
        read = read_batches(self._images, (rows.numpy() for rows in batches))
        sent = (upload.send(torch.from_numpy(images)) for images in read)
        for coming in sent if self.device.type == "cpu" else one_ahead(sent):
            yield upload.take(*coming)


def _copy_to(images: Images, device: torch.device) -> Tensor:
    """Return the images on the device; copied in pieces, so a memory map is never held whole."""
    result = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), _COPY_ROWS):
        piece = np.array(images[start : start + _COPY_ROWS])
        result[start : start + len(piece)].copy_(torch.from_numpy(piece))
    return result
