"""The contract of a method: options, heads, and a loss; tensors in, scalar out.

A new method is one file in this folder with one subclass of ``Method``. The method never
touches EMA, optimiser, loop or logging, so that every EMA scope applies to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from emabench.errors import SpecError
from emabench.spec import SpecModel

Views = tuple[Tensor, Tensor]
"""Embeddings [N, E] of the first and of the second view of N images."""


class Method(nn.Module):
    """A joint-embedding method with two views an image.

    Buffers (a queue of negatives) are saved in every checkpoint.

    Args:
        options: validated options of the method.
        feature_dim: length of the backbone's features.
        train_images: number of training images.
    """

    class Options(SpecModel):
        """The options of the method with their defaults."""

    stop_gradient: ClassVar[bool]
    """Whether the published method cuts the gradient of its targets; if not, both of its branches
    are trained."""

    def __init__(self, options: SpecModel, feature_dim: int, train_images: int) -> None:
        super().__init__()

    @classmethod
    @abstractmethod
    def build_projector(cls, options: Any, feature_dim: int) -> nn.Module:
        """Return the last block of the encoder: features [N, D] → embeddings [N, E]."""

    def predict(self, embeddings: Tensor) -> Tensor:
        """Apply the online network's predictor; the identity for methods without one."""
        return embeddings

    @abstractmethod
    def loss(self, online: Views, target: Views) -> Tensor:
        """Return the mean loss over images and views as a float32 scalar.

        Args:
            online: predictions [N, E] of the online network for each view.
            target: targets [N, E] for each view; the online embeddings themselves for scope
                ``none``, which makes the value that of the published momentum-free loss.
        """

    def remember(self, target: Views) -> None:
        """Take in the targets after the step, for example into a queue of negatives."""

    @classmethod
    def parse_options(cls, name: str, options: Mapping[str, Any]) -> SpecModel:
        """Validate the raw options of a spec.

        Raises:
            SpecError: an option is unknown or its value cannot be.
        """
        try:
            return cls.Options.parse(options, what=f"options of method {name}")
        except SpecError as error:
            hint = error.hint or f"'emabench methods {name}' lists them"
            raise SpecError(error.message, hint=hint) from None

    @classmethod
    def fit_options(
        cls, options: Any, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Return the options fitted to the data, and what the user should know about it.

        Raises:
            SpecError: the options do not go with this many images.
        """
        return options, []
