"""Properties of the EMA update on arbitrary weights."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from emabench.ema import TargetNetwork
from emabench.spec import EmaScope

weights = st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3)


class OneBlock(nn.Module):
    """An encoder of a single block with three weights."""

    block_names = ("projector",)

    def __init__(self, values):
        super().__init__()
        layer = nn.Linear(3, 1, bias=False)
        layer.weight.data = torch.tensor([values])
        self.blocks = nn.ModuleDict({"projector": layer})


@given(old=weights, new=weights, decay=st.floats(0, 1))
def test_an_update_lies_between_old_and_online(old, new, decay):
    encoder = OneBlock(old)
    target = TargetNetwork(encoder, EmaScope.parse("full", encoder.block_names))
    before = target.copies["projector"].weight.clone()
    online = encoder.blocks["projector"].weight
    online.data = torch.tensor([new])
    target.update(decay)
    after = target.copies["projector"].weight
    assert torch.all(after >= torch.minimum(before, online))
    assert torch.all(after <= torch.maximum(before, online))
    if decay == 1:
        assert torch.equal(after, before)
    if decay == 0:
        assert torch.equal(after, online)
