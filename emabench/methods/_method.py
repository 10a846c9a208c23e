"""The contract of a method: options, heads, and a loss; tensors in, scalar out.

A new method is one file in this folder with one subclass of ``Method``. The method never
touches EMA, optimiser, loop or logging, so that every EMA scope applies to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Generator, Tensor, nn

from emabench.errors import SpecError
from emabench.networks.token_grid import TokenGrid
from emabench.spec import SpecModel

Views = tuple[Tensor, ...]
"""One embedding [N, E] of N images for each view."""


@dataclass(frozen=True)
class TrainingSet:
    """What a method may know of what it is trained on.

    Attributes:
        images: number of training images.
        classes: number of classes.
        step_images: images in a step.
        tokens: the grid of the backbone's tokens; None where it makes none.
    """

    images: int
    classes: int
    step_images: int = 1
    tokens: TokenGrid | None = None


class TargetOptions(SpecModel):
    """The options that every method with a target has."""

    residual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of residual momentum (arXiv 2211.09861): the cosine distance between the online and
    the target embedding of the same view, averaged over views and added to the loss."""


class Method(nn.Module):
    """A method of pretraining. By default a joint embedding: two views, both online and targets.

    Buffers (a queue of negatives) are saved in every checkpoint.

    Args:
        options: validated options of the method.
        feature_dim: length of the backbone's features.
        data: the training set.
    """

    class Options(TargetOptions):
        """The options of the method with their defaults."""

    stop_gradient: ClassVar[bool]
    """Whether the published method cuts the gradient of its targets; if not, both of its branches
    are trained."""
    online_views: ClassVar[tuple[int, ...]] = (0, 1)
    """The views that the online network is trained on: 0 is the first, 1 the second."""
    target_views: ClassVar[tuple[int, ...]] = (0, 1)
    """The views that there are targets of; none, for a method without a target network."""
    takes_local_views: ClassVar[bool] = False
    """Whether small local views can join ``online``, after those of ``online_views``; they have no
    target."""
    labels: ClassVar[Literal["classes", "images", "pixels"] | None] = None
    """What a method without a target learns to predict: the class, which image it is, or the view
    itself."""
    trains: ClassVar[bool] = True
    """Whether there is anything to train."""
    tunes_given_weights: ClassVar[bool] = False
    """Whether it is meant for a backbone that starts from the weights of an earlier training."""
    constant_lr: ClassVar[tuple[str, ...]] = ()
    """Modules of the method whose learning rate stays at its peak, without any schedule."""

    def __init__(self, options: SpecModel, feature_dim: int, data: TrainingSet) -> None:
        super().__init__()

    @classmethod
    @abstractmethod
    def build_projector(cls, options: Any, feature_dim: int) -> nn.Module:
        """Return the last block of the encoder: features [N, D] → embeddings [N, E]."""

    @classmethod
    def targets_alone(cls) -> set[int]:
        """Return the views whose target shares no pass with the online network."""
        return set(cls.target_views) - set(cls.online_views)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Apply the online network's predictor; the identity for methods without one."""
        return embeddings

    def begin_epoch(self, epoch: int, projector: nn.Module) -> None:
        """Prepare an epoch, counted from 0: freeze a layer of the projector, for example."""

    def frozen_blocks(self, epoch: int, blocks: Sequence[str]) -> Sequence[str]:
        """Return the blocks of the encoder that are not trained in an epoch, counted from 0.

        Args:
            epoch: its number.
            blocks: the names of all blocks, first to last, the projector included.
        """
        return ()

    def begin_step(self, generator: Generator) -> None:
        """Prepare a step: draw what the loss needs at random.

        Args:
            generator: on the CPU; at one step of one seed it gives the same numbers in every run,
                in every EMA scope, and on every device.
        """

    @abstractmethod
    def loss(self, online: Views, target: Views) -> Tensor:
        """Return the mean loss over images and views as a float32 scalar.

        Args:
            online: predictions [N, E] of the online network, one for each of ``online_views``, and
                then one for each local view.
            target: targets [N, E], one for each of ``target_views``; the online embeddings
                themselves for scope ``none``, which makes the value that of the published
                momentum-free loss. For a method without a target: its ``labels`` [N], or the first
                view [N, 3, S, S].
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

    @classmethod
    def revisions(cls, options: Any, *, epochs: int, epoch_images: int) -> dict[str, bool]:
        """Return by name which changes of the method's own numbers concern a run.

        Args:
            options: as the run has them.
            epochs: that it trains, the last one perhaps in part.
            epoch_images: images that it trains on in a whole epoch.
        """
        return {}
