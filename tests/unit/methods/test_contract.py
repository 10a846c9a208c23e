"""What a method declares: options, views, labels, frozen layers, constant learning rates."""

import pytest
import torch

from emabench.errors import SpecError, UnknownNameError
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import TrainingSet


def make(name, **options):
    method = load_method(name)
    return method(method.Options(**options), 8, TrainingSet(images=64, classes=4))


def test_methods_are_found_by_their_files():
    assert {
        "barlow_twins", "byol", "dcl", "diet", "dino", "ijepa", "lejepa", "mae", "mae_ct", "moco",
        "mocov3", "nnclr", "random", "ressl", "simclr", "simsiam", "supcon", "supervised", "swav",
        "vicreg", "wmse",
    } == set(method_names())  # fmt: skip
    with pytest.raises(UnknownNameError) as caught:
        load_method("simcrl")
    assert "simclr" in caught.value.hint


@pytest.mark.parametrize("name", method_names())
def test_unknown_options_are_named(name):
    method = load_method(name)
    with pytest.raises(SpecError, match="unknown field 'residual_wieght'") as caught:
        method.parse_options(name, {"residual_wieght": 1.0})
    near = "residual_weight" in method.Options.model_fields
    assert ("did you mean residual_weight" in caught.value.hint) == near


@pytest.mark.parametrize("name", method_names())
def test_residual_momentum_is_an_option_of_every_method_with_a_target(name):
    """A masked view has no embedding that could be near to that of the whole one."""
    method = load_method(name)
    has_both = bool(method.target_views) and not issubclass(method, MaskedMethod)
    assert ("residual_weight" in method.Options.model_fields) == has_both


@pytest.mark.parametrize("name", method_names())
def test_a_method_says_once_what_it_learns_from(name):
    method = load_method(name)
    sources = [bool(method.target_views), method.labels is not None, not method.trains]
    assert sum(sources) == 1
    assert method.online_views


@pytest.mark.parametrize("name", ["dino", "swav"])
def test_prototypes_learn_only_after_the_frozen_epochs(name):
    method = make(name, prototypes=6, frozen_epochs=2, output_dim=4, hidden_dim=8)
    projector = method.build_projector(method.options, 8)
    for epoch, learns in enumerate([False, False, True]):
        method.begin_epoch(epoch, projector)
        projector(torch.randn(16, 8)).sum().backward()
        assert (projector[-1].weight.grad is not None) == learns
        assert projector[0][0].weight.grad is not None
        projector.zero_grad(set_to_none=True)


def test_mae_ct_trains_its_head_and_then_the_upper_half():
    method = make("mae_ct", head_epochs=3, queue_size=64)
    blocks = ("stem", "block1", "block2", "block3", "block4", "projector")
    assert method.frozen_blocks(2, blocks) == blocks[:-1]
    assert method.frozen_blocks(3, blocks) == blocks[:3]
    assert make("mae_ct", head_epochs=0, tuned_share=1.0).frozen_blocks(0, blocks) == ("stem",)


def test_prototypes_give_cosine_similarities():
    method = make("swav", prototypes=6, output_dim=4)
    projector = method.build_projector(method.options, 8)
    scores = projector(torch.randn(16, 8))
    assert scores.shape == (16, 6)
    assert scores.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        again = projector[-1](7 * torch.eye(4))
        directions = projector[-1].weight / projector[-1].weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(again, directions.T)


def test_wmse_refuses_groups_that_cannot_be_whitened():
    method = load_method("wmse")
    with pytest.raises(SpecError, match="less than twice the 64 dimensions"):
        method.fit_options(method.Options(whitening_size=100), 1000, 200)
    with pytest.raises(SpecError, match="does not divide the batch of 200"):
        method.fit_options(method.Options(whitening_size=128), 1000, 200)


def test_the_last_norm_of_the_heads_is_the_published_one():
    last = {
        name: list(make_projector(name).modules())[-1]
        for name in ("mocov3", "simsiam", "nnclr", "byol", "simclr")
    }
    assert [last[name].affine for name in ("mocov3", "simsiam", "nnclr")] == [False, False, True]
    assert last["byol"].bias is not None
    assert last["simclr"].bias is not None
    assert list(make("mocov3").predictor.modules())[-1].bias is None


def make_projector(name):
    method = load_method(name)
    return method.build_projector(method.Options(), 8)
