"""MAE: pixels of hidden patches, from a few visible ones.

He et al., "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377. Defaults are the
authors'. The encoder is timm's own, with learned positions where the authors' are fixed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from emabench.errors import SpecError
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import TrainingSet, Views
from emabench.networks.token_grid import TokenGrid, take_patches
from emabench.networks.token_predictor import TokenPredictor, check_width
from emabench.spec import SpecModel

_EPSILON = 1e-6


class MAE(MaskedMethod):
    """MAE: a masked autoencoder of a ViT; one view, no projector, no target."""

    class Options(SpecModel):
        """The share of hidden patches, the decoder, and what it is to predict."""

        mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
        decoder_dim: Annotated[int, Field(ge=4)] = 512
        decoder_depth: Annotated[int, Field(ge=1)] = 8
        decoder_heads: Annotated[int, Field(ge=1)] = 16
        normalize_pixels: bool = True

    target_views: ClassVar[tuple[int, ...]] = ()
    labels: ClassVar[Literal["classes", "images", "pixels"] | None] = "pixels"
    hidden: Tensor

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.normalize_pixels = options.normalize_pixels
        self.decoder = TokenPredictor(
            self.grid,
            feature_dim,
            options.decoder_dim,
            options.decoder_depth,
            options.decoder_heads,
            3 * self.grid.patch**2,
            nn.init.xavier_uniform_,
        )

    @classmethod
    def check_grid(cls, options: Options, grid: TokenGrid) -> list[str]:
        """Some patches must be visible and others hidden."""
        check_width("decoder_dim", options.decoder_dim, options.decoder_heads)
        if not 0 < _visible(options, grid) < grid.patches:
            raise SpecError(
                f"method.options.mask_ratio={options.mask_ratio:g} hides all or none of "
                f"{grid.patches} patches",
                hint="choose one nearer to 0.75, or smaller patches",
            )
        return []

    def draw_masks(self, options: Options, generator: Generator) -> dict[str, Tensor]:
        """Hide patches of each image at random."""
        noise = torch.rand(self._images, self.grid.patches, generator=generator)
        seen = _visible(options, self.grid)
        shuffled = noise.argsort(dim=1)
        return {"visible": shuffled[:, :seen], "hidden": shuffled[:, seen:]}

    def predict_hidden(self, tokens: Tensor, part: slice) -> Tensor:
        """Return the pixels [n, M, 3 · patch²] of the hidden patches."""
        predicted: Tensor = self.decoder(tokens, self.visible[part], self.hidden[part])
        return predicted

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean squared error of the pixels of the hidden patches, each patch normalised.

        Args:
            online: the predicted pixels [N, M, 3 · patch²].
            target: the images [N, 3, S, S].
        """
        pixels = take_patches(patches_of(target[0], self.grid), self.hidden)
        if self.normalize_pixels:
            spread, centre = torch.var_mean(pixels, dim=-1, keepdim=True)
            pixels = (pixels - centre) / (spread + _EPSILON).sqrt()
        return F.mse_loss(online[0], pixels)


def patches_of(images: Tensor, grid: TokenGrid) -> Tensor:
    """Return the pixels [N, L, patch · patch · 3] of the patches of images [N, 3, S, S].

    What the patches leave out at the right and at the bottom is left out.
    """
    side, patch = grid.side, grid.patch
    seen = images[:, :, : side * patch, : side * patch]
    pixels: Tensor = seen.unflatten(3, (side, patch)).unflatten(2, (side, patch))
    # From [N, channel, row, y, column, x].
    return pixels.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def _visible(options: MAE.Options, grid: TokenGrid) -> int:
    return int(grid.patches * (1 - options.mask_ratio))
