"""An average of the backbone's weights for the evaluation alone: the training does not see it.

Whether a momentum encoder helps because its targets do, or because averaged weights evaluate better
(arXiv 2411.18704), is asked by keeping such an average beside any EMA scope, ``none`` too.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from emabench.networks.drop_rates import drop_rates


class WeightAverage(AveragedModel):
    """The moving average of a backbone's weights; its first update copies them.

    Until ``settle_statistics`` its BatchNorm statistics are those of the online backbone.

    Args:
        backbone: the online one.
        decay: share of the old average kept per update.
    """

    def __init__(self, backbone: nn.Module, decay: float) -> None:
        super().__init__(backbone, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.requires_grad_(False)
        for rate in drop_rates(self):
            rate.set(0.0)
        self._online = (backbone,)  # in a tuple: it is no part of the average

    def update(self) -> None:
        """Take in the weights after an optimiser step."""
        self.update_parameters(self._online[0])

    def settle_statistics(self, batches: Iterable[Tensor]) -> None:
        """Measure the BatchNorm statistics of the averaged weights: every batch counts the same.

        Args:
            batches: normalised images [N, 3, S, S], all of one N.
        """
        update_bn(batches, self)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds, parameters and buffers."""
        return sum(tensor.nbytes for tensor in (*self.parameters(), *self.buffers()))

    @property
    def update_bytes(self) -> int:
        """Bytes that one update moves: an average reads two tensors and writes one."""
        parameters = 3 * sum(tensor.nbytes for tensor in self.module.parameters())
        return parameters + 2 * sum(tensor.nbytes for tensor in self.module.buffers())
