"""I-JEPA: the target's tokens of hidden blocks, predicted from a visible block.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", arXiv 2301.08243. Defaults are the paper's for a ViT-B.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from emabench.errors import SpecError
from emabench.methods._block_masks import block_size, draw_blocks
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import TrainingSet, Views
from emabench.networks.token_grid import TokenGrid, take_patches
from emabench.networks.token_predictor import TokenPredictor, check_width
from emabench.spec import SpecModel

_SMALLEST_SIDE = 8
_SHARES = 1000


class IJEPA(MaskedMethod):
    """I-JEPA: what a ViT makes of hidden blocks, predicted from the visible rest; no projector."""

    class Options(SpecModel):
        """The predictor, and the blocks: areas are shares of the image."""

        predictor_dim: Annotated[int, Field(ge=4)] = 384
        predictor_depth: Annotated[int, Field(ge=1)] = 6
        predictor_heads: Annotated[int, Field(ge=1)] = 12
        targets: Annotated[int, Field(ge=1)] = 4
        target_scale: tuple[float, float] = (0.15, 0.2)
        target_aspect: tuple[float, float] = (0.75, 1.5)
        context_scale: tuple[float, float] = (0.85, 1.0)
        min_keep: Annotated[int, Field(ge=4)] = 10

        @model_validator(mode="after")
        def _bounds_are_ordered(self) -> Self:
            for name, high in (
                ("target_scale", 1),
                ("target_aspect", math.inf),
                ("context_scale", 1),
            ):
                lower, upper = getattr(self, name)
                if not 0 < lower <= upper <= high:
                    raise ValueError(f"{name} needs 0 < lower ≤ upper ≤ {high:g}")
            return self

    target_views: ClassVar[tuple[int, ...]] = (0,)
    hidden: Tensor

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.predictor = TokenPredictor(
            self.grid,
            feature_dim,
            options.predictor_dim,
            options.predictor_depth,
            options.predictor_heads,
            feature_dim,
            lambda weight: nn.init.trunc_normal_(weight, std=0.02),
        )
        self.predictor.calm_residuals()

    @classmethod
    def check_grid(cls, options: Options, grid: TokenGrid) -> list[str]:
        """Every target must have more than ``min_keep`` patches, and the context too."""
        check_width("predictor_dim", options.predictor_dim, options.predictor_heads)
        if grid.side < _SMALLEST_SIDE:
            raise SpecError(
                f"{grid.side} by {grid.side} patches are too few for the blocks of ijepa",
                hint="8 by 8 do: set backbone.stem=3x3, a smaller backbone.options.patch_size or a "
                "larger data.image_size",
            )
        sizes = [
            _sizes(options, grid, step / _SHARES, other)
            for step in range(_SHARES + 1)
            for other in (0.0, 1.0)
        ]
        fewest = min(math.prod(size) for both in sizes for size in both)
        if fewest <= options.min_keep:
            raise SpecError(
                f"method.options.min_keep={options.min_keep}: blocks of {grid.side} by {grid.side} "
                f"patches can have as few as {fewest}",
                hint="set method.options.min_keep=4, or take smaller patches",
            )
        if not grid.prefix:
            return []
        return [
            "ijepa predicts patches and leaves the class token untrained: evaluate the mean of the "
            "patches, with backbone.options class_token=false, global_pool=avg and fc_norm=false"
        ]

    def draw_masks(self, options: Options, generator: Generator) -> dict[str, Tensor]:
        """Draw the sizes of the blocks for the step, and their places for each image."""
        of_target, of_context = torch.rand(2, generator=generator).tolist()
        target, context = _sizes(options, self.grid, of_target, of_context)
        visible, hidden = draw_blocks(
            self._images,
            options.targets,
            self.grid.side,
            target,
            context,
            options.min_keep,
            generator,
        )
        return {"visible": visible, "hidden": hidden}

    def predict_hidden(self, tokens: Tensor, part: slice) -> Tensor:
        """Return the tokens [n, T, M, D] of each target, predicted without the others."""
        hidden = self.hidden[part]
        count, targets, _ = hidden.shape
        patches = tokens[:, self.grid.prefix :].repeat_interleave(targets, dim=0)
        visible = self.visible[part].repeat_interleave(targets, dim=0)
        predicted = self.predictor(patches, visible, hidden.flatten(0, 1))
        return predicted.unflatten(0, (count, targets))  # type: ignore[no-any-return]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Smooth L1 distance to the normalised tokens of the targets.

        Args:
            online: the predicted tokens [N, T, M, D].
            target: the tokens [N, P + L, D] of the whole image.
        """
        tokens = target[0][:, self.grid.prefix :]
        normalized = F.layer_norm(tokens, tokens.shape[-1:])
        wanted = take_patches(normalized, self.hidden.flatten(1))
        return F.smooth_l1_loss(online[0].flatten(1, 2), wanted)


def _sizes(
    options: IJEPA.Options, grid: TokenGrid, of_target: float, of_context: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the sizes of a target and of the context, by two numbers from 0 to 1."""
    target = block_size(grid.side, options.target_scale, options.target_aspect, of_target)
    return target, block_size(grid.side, options.context_scale, (1.0, 1.0), of_context)
