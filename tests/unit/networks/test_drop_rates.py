"""Nothing drops unless it is asked for, and what drops can be kept from it."""

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from emabench.networks.backbone import build_backbone
from emabench.networks.drop_rates import drop_rates, without_dropping
from emabench.spec import BackboneSpec

SWIN = {"depths": [2, 1, 2, 1], "embed_dim": 16, "num_heads": [1, 2, 2, 4]}
BY_DEFAULT = {
    "swin_tiny_patch4_window7_224": SWIN,
    "swinv2_tiny_window8_256": SWIN,
    "focalnet_tiny_srf": {},
    "ghostnet_050": {},
    "test_vit_relpos": {},
}
"""Models that drop something by themselves: paths, the head's features, units of a part."""


def build(name, **options):
    torch.manual_seed(0)
    spec = BackboneSpec(name=name, options=BY_DEFAULT.get(name, {}) | options)
    return build_backbone(spec, 32)


def outputs(model):
    """Run a model in training mode on the same images twice, with unlike random states."""
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(model.train()(images).detach())
    return found


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_a_model_drops_nothing_of_itself(name):
    backbone = build(name)
    assert backbone.quietened
    torch.testing.assert_close(*outputs(backbone.model), rtol=0, atol=0)


def test_what_the_user_asks_for_stays_and_the_rest_does_not():
    backbone = build("swin_tiny_patch4_window7_224", drop_path_rate=0.5)
    assert not backbone.quietened
    assert {rate.kind for rate in drop_rates(backbone.model)} == {"path"}
    first, second = outputs(backbone.model)
    assert not torch.allclose(first, second)
    units = build("swin_tiny_patch4_window7_224", drop_rate=0.5)
    assert units.quietened, "its paths were on"
    assert {rate.kind for rate in drop_rates(units.model)} == {"unit"}
    assert not build("swin_tiny_patch4_window7_224", drop_path_rate=0).quietened
    assert not build("resnet18").quietened


class _Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop_rate = 0.5

    def forward(self, x):
        return nn.functional.dropout(x, self.drop_rate, self.training)


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.5),
        nn.Dropout1d(0.5),
        nn.AlphaDropout(0.5),
        nn.TransformerEncoderLayer(8, 2, 8, dropout=0.5, batch_first=True),
        StochasticDepth(0.5, "row"),
        _Functional(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_modules_that_drop_are_kept_from_it_for_a_while(module):
    network = nn.Sequential(nn.Identity(), module).train()
    images = torch.randn(4, 6, 8)
    with torch.no_grad(), without_dropping([network]):
        assert torch.equal(network(images), network(images))
    torch.manual_seed(0)
    with torch.no_grad():
        assert not torch.equal(network(images), network(images)), "it drops again"
