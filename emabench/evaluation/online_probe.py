"""A linear classifier trained beside the pretraining, on detached features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OnlineProbe(nn.Module):
    """Shows during training how linearly separable the classes are; changes nothing else.

    Its accuracy is an indication: it follows features that still move, and has a name of its own
    (``online_top1``), apart from that of the evaluation after training.

    Args:
        feature_dim: length of the features D.
        classes: number of classes C.
    """

    def __init__(self, feature_dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(feature_dim, affine=False)
        self.linear = nn.Linear(feature_dim, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self._optimizer = torch.optim.SGD(self.linear.parameters(), lr=0.1, momentum=0.9)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits [N, C] of features [N, D]."""
        return self.linear(self.norm(features))  # type: ignore[no-any-return]

    def learn(self, features: Tensor, labels: Tensor) -> None:
        """Make one step on detached features [N, D] and labels [N]."""
        self.train()
        with torch.autocast(features.device.type, enabled=False):
            loss = F.cross_entropy(self(features.float()), labels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()

    def optimizer_state(self) -> dict[str, object]:
        """Return the state of the probe's optimiser, for a checkpoint."""
        return self._optimizer.state_dict()

    def load_optimizer_state(self, state: dict[str, object]) -> None:
        """Take over the state of the probe's optimiser."""
        self._optimizer.load_state_dict(state)

    @torch.no_grad()
    def top1(self, features: Tensor, labels: Tensor) -> float:
        """Return the percentage of labels [M] that the probe gets right."""
        self.eval()
        right = self(features).argmax(dim=1) == labels
        return int(right.sum()) / len(right) * 100
