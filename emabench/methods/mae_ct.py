"""MAE-CT: contrastive tuning of an encoder that a masked autoencoder has trained.

Lehner et al., "Contrastive Tuning: A Little Help to Make Masked Autoencoders Forget", arXiv
2304.10520. It starts from the weights of an MAE. First the head of NNCLR learns on the frozen
encoder, then the upper half of the encoder is tuned; published with an average of the projector
alone. Defaults are the authors' for a ViT-B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from emabench.methods._method import TrainingSet
from emabench.methods.nnclr import NNCLR


class MAECT(NNCLR):
    """MAE-CT: NNCLR that trains its head first, and then the upper half of a given encoder.

    A neighbour is one of the nearest, drawn at random.
    """

    class Options(NNCLR.Options):
        """Those of NNCLR, how long the encoder is frozen, and how much of it is tuned."""

        temperature: Annotated[float, Field(gt=0)] = 0.15
        neighbours: Annotated[int, Field(ge=1)] = 20
        head_epochs: Annotated[int, Field(ge=0)] = 20
        tuned_share: Annotated[float, Field(ge=0, le=1)] = 0.5

    tunes_given_weights: ClassVar[bool] = True
    ranks: Tensor

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self._head_epochs, self._tuned_share = options.head_epochs, options.tuned_share
        self._nearest = min(options.neighbours, options.queue_size)
        ranks = torch.zeros(2, data.step_images, dtype=torch.int64)
        self.register_buffer("ranks", ranks, persistent=False)

    def frozen_blocks(self, epoch: int, blocks: Sequence[str]) -> Sequence[str]:
        """Return the whole backbone at first, and then what lies below the tuned blocks."""
        stem_and_blocks = blocks[:-1]
        tuned = round(self._tuned_share * (len(stem_and_blocks) - 1))
        count = len(stem_and_blocks)
        return stem_and_blocks[: count if epoch < self._head_epochs else count - tuned]

    def begin_step(self, generator: Generator) -> None:
        """Draw which of its nearest neighbours each view of each image takes."""
        drawn = torch.randint(self._nearest, self.ranks.shape, generator=generator)
        self.ranks = drawn.to(self.ranks.device, non_blocking=True)

    @torch.no_grad()
    def neighbours(self, targets: Tensor, view: int) -> Tensor:
        """Return one of the most similar members of the support set for each of [N, E] targets."""
        own = F.normalize(targets, dim=1)
        similarity = own @ self.support[0].T
        similarity = similarity.masked_fill(self.support.empty_slots, float("-inf"))
        nearest = similarity.topk(self._nearest, dim=1).indices
        known = self.support.enqueued.clamp(1, self._nearest)
        chosen = nearest.gather(1, (self.ranks[view] % known)[:, None]).squeeze(1)
        return torch.where(self.support.enqueued > 0, self.support[0][chosen], own)
