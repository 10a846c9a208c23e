"""A small transformer that predicts what belongs to hidden patches from the visible ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from emabench.errors import SpecError
from emabench.networks.token_grid import TokenGrid, take_patches


class TokenPredictor(nn.Module):
    """The decoder of MAE and the predictor of I-JEPA: tokens with their places in, hidden ones out.

    A hidden patch enters as one learned token at its place. Places are fixed sines and cosines;
    tokens of the prefix have none.

    Args:
        grid: of the tokens.
        input_dim: length D of the tokens that come in.
        dim: width of the transformer, a multiple of 4 and of ``heads``.
        depth: its blocks.
        heads: of its attention.
        output_dim: length O of what comes out.
        initialize: sets the weight of a linear layer, in place.
    """

    positions: Tensor

    def __init__(
        self,
        grid: TokenGrid,
        input_dim: int,
        dim: int,
        depth: int,
        heads: int,
        output_dim: int,
        initialize: Callable[[Tensor], object],
    ) -> None:
        super().__init__()
        self.register_buffer("positions", sine_cosine(dim, grid.side), persistent=False)
        self.embed = nn.Linear(input_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        norm: Any = partial(nn.LayerNorm, eps=1e-6)  # timm's hint knows classes alone
        blocks = (Block(dim, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm(dim)
        self.project = nn.Linear(dim, output_dim)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialize(module.weight)
                nn.init.zeros_(module.bias)

    def calm_residuals(self) -> None:
        """Divide the last weights of each residual branch by √(2 · depth), as I-JEPA does."""
        for depth, block in enumerate(self.blocks, start=1):
            for name in ("attn.proj", "mlp.fc2"):
                with torch.no_grad():
                    block.get_submodule(name).get_parameter("weight").div_((2 * depth) ** 0.5)

    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Return a prediction for every hidden patch.

        Args:
            tokens: [N, P + K, D], those of a prefix first, if they are to take part.
            visible: index [N, K] of the patches among them.
            hidden: index [N, M] of those to predict.

        Returns:
            [N, M, O].
        """
        count, seen = visible.shape
        places = self.positions.expand(count, -1, -1)
        prefix, patches = self.embed(tokens).split([tokens.shape[1] - seen, seen], dim=1)
        patches = patches + take_patches(places, visible)
        asked = self.mask_token + take_patches(places, hidden)
        tokens = self.norm(self.blocks(torch.cat([prefix, patches, asked], dim=1)))
        return self.project(tokens[:, -hidden.shape[1] :])  # type: ignore[no-any-return]


def check_width(name: str, dim: int, heads: int) -> None:
    """Check that a transformer can be that wide.

    Args:
        name: of the option that says how wide.
        dim: the width.
        heads: of its attention.

    Raises:
        SpecError: it cannot.
    """
    if dim % 4 or dim % heads:
        raise SpecError(
            f"method.options.{name}={dim} is no multiple of 4 and of its {heads} heads",
            hint=f"{-(-dim // (4 * heads)) * 4 * heads} is, for example",
        )


def sine_cosine(dim: int, side: int) -> Tensor:
    """Return the fixed positions [L, dim] of the patches of a square, row by row.

    The first half of the numbers tells the column, the second the row (MAE, arXiv 2111.06377).
    """
    frequencies = 10000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    of_place = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, dim / 2]
    columns, rows = of_place.repeat(side, 1), of_place.repeat_interleave(side, dim=0)
    return torch.cat([columns, rows], dim=1).float()
