"""Properties of the EMA update and of its targets, on arbitrary weights and blocks."""

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from emabench.ema import TargetNetwork
from emabench.networks.encoder import Encoder

weights = st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3)


def in_tensor(decay):
    return torch.tensor(decay, dtype=torch.double)


decays = st.sampled_from([float, in_tensor])


@given(old=weights, new=weights, decay=st.floats(0, 1), kind=decays)
def test_an_update_lies_between_old_and_online(old, new, decay, kind):
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data = torch.tensor([old])
    target = TargetNetwork({"projector": layer}, "full")
    before = target.copies["projector"].weight.clone()
    online = layer.weight
    online.data = torch.tensor([new])
    target.update(kind(decay))
    after = target.copies["projector"].weight
    assert torch.all(after >= torch.minimum(before, online))
    assert torch.all(after <= torch.maximum(before, online))
    if decay == 1:
        assert torch.equal(after, before)
    if decay == 0:
        assert torch.equal(after, online)


@given(
    old=weights,
    new=weights,
    decay=st.floats(0, 1),
    kind=st.sampled_from([torch.float, torch.double]),
)
def test_a_decay_in_a_tensor_gives_the_bits_of_a_number(old, new, decay, kind):
    """Also in the tail of a vectorised loop: seven times three weights."""
    copies = []
    for given_decay in (decay, in_tensor(decay)):
        layer = nn.Linear(21, 1, bias=False, dtype=kind)
        layer.weight.data = torch.tensor([old * 7], dtype=kind)
        target = TargetNetwork({"projector": layer}, "full")
        layer.weight.data = torch.tensor([new * 7], dtype=kind)
        target.update(given_decay)
        copies.append(target.copies["projector"].weight)
    assert torch.equal(*copies)


def block(kind):
    """Return a block of width 4; those of kind ``tied`` share their weights."""
    layer = nn.Linear(4, 4, bias=kind != "bare")
    if kind == "norm":
        return nn.Sequential(layer, nn.BatchNorm1d(4))
    return layer.requires_grad_(kind != "frozen")


kinds = st.sampled_from(["bare", "norm", "frozen", "tied"])


@settings(max_examples=40)
@given(st.data())
def test_the_targets_of_any_blocks_are_those_of_the_whole_mixed_network(data):
    torch.manual_seed(0)
    blocks = {
        f"b{number}": block(kind)
        for number, kind in enumerate(data.draw(st.lists(kinds, min_size=1, max_size=4)))
    }
    plain = [each for each in blocks.values() if isinstance(each, nn.Linear)]
    for each in plain[1:]:
        if each.weight.requires_grad:
            each.weight = plain[0].weight
    averaged = data.draw(st.lists(st.sampled_from(list(blocks)), unique=True))
    encoder = Encoder(blocks).double()
    target = TargetNetwork(blocks, "+".join(averaged) or "none")
    textbook = copy.deepcopy({name: blocks[name] for name in averaged})
    weights = {id(each): each for each in encoder.parameters() if each.requires_grad}
    kind = data.draw(decays)
    for decay in data.draw(st.lists(st.floats(0, 1), max_size=3)):
        with torch.no_grad():
            for weight in weights.values():
                weight.add_(torch.randn_like(weight))
            mine = {id(p): p for each in textbook.values() for p in each.parameters()}
            theirs = {id(p): p for name in textbook for p in blocks[name].parameters()}
            for old, new in zip(mine.values(), theirs.values(), strict=True):
                old.copy_(decay * old + (1 - decay) * new)
        target.update(kind(decay))
    views = torch.randn(5, 4, dtype=torch.double)
    expected = views
    for name, online in blocks.items():
        expected = copy.deepcopy(textbook.get(name, online)).train()(expected)
    torch.testing.assert_close(target(encoder(views)), expected.detach(), rtol=1e-9, atol=1e-9)
