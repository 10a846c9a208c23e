"""Masked methods against lightly's masked ViT, decoder, predictor and masks, in float64.

One learner's step: the same weights, the same masks; loss and every gradient are compared.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from emabench.methods._method import TrainingSet
from emabench.testing import resolved
from emabench.training.learner import Learner

pytestmark = pytest.mark.parity

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lightly = pytest.importorskip("lightly")
    from lightly.models import utils
    from lightly.models.modules.masked_vision_transformer_decoder_timm import (
        MaskedVisionTransformerDecoderTIMM,
    )
    from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM


def step_of(method, scope="none", **fields):
    """Return a learner with weights moved away from their start, and images [N, 3, 32, 32]."""
    spec = resolved(method, scope, **fields).pretrain
    learner = Learner(spec, 32, TrainingSet(images=200, classes=10)).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.double)
            parameter.add_(0.05 * noise)
    learner.method.begin_step(torch.Generator().manual_seed(2))
    return learner, torch.randn(spec.batch_size, 3, 32, 32, generator=generator).double()


def masked_vit(learner):
    (backbone,) = learner.backbone
    options = {"weight_initialization": "skip", "pos_embed_initialization": "skip"}
    return MaskedVisionTransformerTIMM(backbone.model, **options)


def same(learner, loss, expected):
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    parameters = [p for p in learner.online_parts().parameters() if p.requires_grad]
    got = torch.autograd.grad(loss, parameters, retain_graph=True)
    wanted = torch.autograd.grad(expected, parameters)
    for mine, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def sharing(theirs, ours, names):
    """Give one of lightly's modules the very parameters of ours."""
    for name in names:
        setattr(theirs, name, getattr(ours, name))


def test_mae():
    learner, images = step_of("mae")
    ours = learner.method.decoder
    theirs = MaskedVisionTransformerDecoderTIMM(64, 16, 1, 2).double()
    torch.testing.assert_close(theirs.pos_embed[0, 1:], ours.positions)
    assert not theirs.pos_embed[0, 0].any()
    sharing(theirs, ours, ["blocks", "norm", "mask_token"])
    count = len(images)
    keep = torch.cat([torch.zeros(count, 1, dtype=torch.int64), 1 + learner.method.visible], dim=1)
    hidden = 1 + learner.method.hidden
    encoded = masked_vit(learner).encode(images=images, idx_keep=keep)
    tokens = utils.repeat_token(theirs.mask_token, (count, 65))
    decoded = theirs(utils.set_at_index(tokens, keep, ours.embed(encoded)))
    predicted = ours.project(utils.get_at_index(decoded, hidden))
    pixels = utils.get_at_index(utils.patchify(images, 4), hidden - 1)
    expected = torch.nn.functional.mse_loss(predicted, utils.normalize_mean_var(pixels))
    same(learner, learner({0: images}).objective, expected)
