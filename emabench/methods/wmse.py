"""W-MSE: close views, whitened so that they cannot collapse.

Ermolov et al., "Whitening for Self-Supervised Representation Learning", arXiv 2007.06346.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.errors import SpecError
from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp
from emabench.spec import SpecModel


class WMSE(Method):
    """W-MSE with two views; every view is whitened by itself, in groups of images."""

    class Options(TargetOptions):
        """Projector, and the number of images that are whitened together."""

        hidden_dim: Annotated[int, Field(ge=1)] = 1024
        output_dim: Annotated[int, Field(ge=1)] = 64
        whitening_size: Annotated[int, Field(ge=2)] = 128
        """Images in a group, at least twice ``output_dim``; divides the batch size."""

    stop_gradient: ClassVar[bool] = False

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers, BatchNorm between them."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim, norm=True)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.whitening_size = options.whitening_size

    @classmethod
    def fit_options(
        cls, options: Options, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Refuse groups that cannot be whitened, or that leave a rest of the batch."""
        size = options.whitening_size
        if size < 2 * options.output_dim:
            raise SpecError(
                f"method.options.whitening_size={size} is less than twice the "
                f"{options.output_dim} dimensions to whiten",
                hint=f"set method.options.output_dim to {size // 2} or less, or raise the size",
            )
        if batch_size % size:
            raise SpecError(
                f"method.options.whitening_size={size} does not divide the batch of {batch_size}",
                hint="set --batch-size to a multiple of it, or change it",
            )
        return options, []

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean over both views of 2 - 2 cos of the whitened embeddings."""
        own = [self._whiten_groups(view) for view in online]
        other = [self._whiten_groups(view) for view in target]
        first = F.cosine_similarity(own[0], other[1], dim=1)
        second = F.cosine_similarity(own[1], other[0], dim=1)
        return (2 - first - second).mean()

    def _whiten_groups(self, embeddings: Tensor) -> Tensor:
        # The loader has shuffled the batch: its groups are random ones.
        return torch.cat([whiten(group) for group in embeddings.split(self.whitening_size)])


def whiten(embeddings: Tensor) -> Tensor:
    """Give embeddings [N, E] mean 0 and covariance 1, by the Cholesky factor of theirs.

    The result is NaN where the covariance is singular: the training loop stops there.
    """
    centred = embeddings - embeddings.mean(dim=0)
    covariance = centred.T @ centred / (len(embeddings) - 1)
    factor, _ = torch.linalg.cholesky_ex(covariance)  # does not wait for the device
    white: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    return white
