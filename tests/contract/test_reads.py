"""The check of a step notices whatever reads a value, on a CPU too."""

from __future__ import annotations

import pytest

from emabench.methods.simclr import SimCLR
from emabench.testing import check_steps, resolved

pytestmark = pytest.mark.usefixtures("uncounted")
READS = {
    "item": lambda loss: loss.item(),
    "bool": lambda loss: bool(loss > 0),
    "float": float,
    "tolist": lambda loss: loss.tolist(),
    "cpu": lambda loss: loss.cpu(),
    "numpy": lambda loss: loss.detach().numpy(),
    "nonzero": lambda loss: (loss > 0).nonzero(),
}


@pytest.fixture(scope="module")
def spec():
    return resolved("simclr", "none")


@pytest.mark.parametrize("name", READS)
def test_a_loss_that_reads_a_value_is_noticed(monkeypatch, spec, name):
    loss_of = SimCLR.loss

    def loss(self, online, target):
        found = loss_of(self, online, target)
        READS[name](found)
        return found

    monkeypatch.setattr(SimCLR, "loss", loss)
    with pytest.raises(AssertionError, match="a step asks for values"):
        check_steps(spec, frozenset())


def test_a_loss_that_reads_none_passes(spec):
    check_steps(spec, frozenset())
