"""The target network as a textbook has it, to compare with: the whole mixed network, run again."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from emabench.ema import TargetNetwork
from emabench.networks.encoder import Encoder


def naive_target(encoder: Encoder, averaged: Mapping[str, nn.Module], views: Tensor) -> Tensor:
    """Run every block on the views, on copies, so that nothing of the network is disturbed."""
    activation = views
    with torch.no_grad():
        for name, block in encoder.blocks.items():
            activation = copy.deepcopy(averaged.get(name, block)).train()(activation)
    return activation


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compare every target that a program makes from now on with the naive one, in float64.

    Returns:
        The scope of each target compared so far, and ``"update"`` for each update.
    """
    happened: list[str] = []
    begin, targets, update = TargetNetwork.__init__, TargetNetwork.forward, TargetNetwork.update

    def begun(self: TargetNetwork, *given: object, **options: object) -> None:
        begin(self, *given, **options)
        (encoder,) = self._online
        self.textbook = {name: copy.deepcopy(encoder.blocks[name]) for name in self.scope.averaged}

    def compared(self: TargetNetwork, activations: Sequence[Tensor]) -> Tensor:
        got = targets(self, activations)
        expected = naive_target(self._online[0], self.textbook, activations[0])
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        happened.append(self.scope.canonical)
        return got

    def updated(self: TargetNetwork, decay: float) -> None:
        update(self, decay)
        (encoder,) = self._online
        with torch.no_grad():
            for name, block in self.textbook.items():
                pairs = zip(block.parameters(), encoder.blocks[name].parameters(), strict=True)
                for mine, online in pairs:
                    mine.copy_(decay * mine + (1 - decay) * online)
        happened.append("update")

    monkeypatch.setattr(TargetNetwork, "__init__", begun)
    monkeypatch.setattr(TargetNetwork, "forward", compared)
    monkeypatch.setattr(TargetNetwork, "update", updated)
    return happened
