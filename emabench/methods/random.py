"""No training at all: the untrained network, the lower bound of a comparison."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from emabench.methods._method import Method, Views
from emabench.spec import SpecModel


class Random(Method):
    """The network as it was initialised, never trained. A lower bound."""

    class Options(SpecModel):
        """None."""

    stop_gradient: ClassVar[bool] = True
    online_views: ClassVar[tuple[int, ...]] = (0,)
    target_views: ClassVar[tuple[int, ...]] = ()
    trains: ClassVar[bool] = False

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Nothing."""
        return nn.Identity()

    def loss(self, online: Views, target: Views) -> Tensor:
        """Never asked for.

        Raises:
            NotImplementedError: there is nothing to train.
        """
        raise NotImplementedError("the method 'random' is not trained")
