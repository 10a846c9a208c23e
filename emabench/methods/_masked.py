"""The contract of masked methods: hide patches of a ViT from the online network, predict them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from emabench.methods._method import Method, TrainingSet
from emabench.networks.token_grid import TokenGrid
from emabench.spec import SpecModel

_DRAWS = 15


class MaskedMethod(Method):
    """A method whose online network sees some patches of one view.

    It learns from tokens instead of from embeddings. There is no projector. A target network, where
    it has one, sees all patches in a pass of its own, in every EMA scope.

    Args:
        options: validated options of the method.
        feature_dim: length D of a token.
        data: with the grid of the tokens, and how many images a step has.

    Attributes:
        visible: index [N, K] of the patches that the online network sees at this step. Before the
            first step it is a typical one: operations are counted with it.
    """

    online_views: ClassVar[tuple[int, ...]] = (0,)
    stop_gradient: ClassVar[bool] = True
    visible: Tensor

    def __init__(self, options: SpecModel, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        assert data.tokens is not None
        self.grid = data.tokens
        self._images = data.step_images
        generator = Generator().manual_seed(0)
        draws = [self.draw_masks(options, generator) for _ in range(_DRAWS)]
        draws.sort(key=lambda masks: sum(index.numel() for index in masks.values()))
        for name, index in draws[_DRAWS // 2].items():
            self.register_buffer(name, index, persistent=False)
        self._options = options

    @classmethod
    def build_projector(cls, options: Any, feature_dim: int) -> nn.Module:
        """Nothing: the method takes tokens."""
        return nn.Identity()

    @classmethod
    def targets_alone(cls) -> set[int]:
        """Return all views with a target: it sees what the online network does not."""
        return set(cls.target_views)

    @classmethod
    @abstractmethod
    def check_grid(cls, options: Any, grid: TokenGrid) -> list[str]:
        """Check that a grid of tokens is large enough for the masks; return what to know of it.

        Raises:
            SpecError: it is not, or an option cannot be.
        """

    @abstractmethod
    def draw_masks(self, options: Any, generator: Generator) -> dict[str, Tensor]:
        """Return the masks of a step: indices of patches [N, …] by name, ``visible`` among them."""

    @abstractmethod
    def predict_hidden(self, tokens: Tensor, part: slice) -> Tensor:
        """Return what the online network predicts for hidden patches.

        Args:
            tokens: [n, P + K, D] of images, those of the prefix first.
            part: which images of the step they are of.

        Returns:
            [n, …], as ``loss`` takes it.
        """

    def begin_step(self, generator: Generator) -> None:
        """Draw the masks of all images of the step."""
        device = self.visible.device
        for name, index in self.draw_masks(self._options, generator).items():
            setattr(self, name, index.to(device, non_blocking=True))
