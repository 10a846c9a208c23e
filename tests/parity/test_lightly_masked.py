"""Masked methods against lightly's masked ViT, decoder, predictor and masks, in float64.

One learner's step: the same weights, the same masks; loss and every gradient are compared.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from emabench.methods._block_masks import block_size, draw_blocks
from emabench.methods._method import TrainingSet
from emabench.testing import resolved
from emabench.training.learner import Learner

pytestmark = pytest.mark.parity

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lightly = pytest.importorskip("lightly")
    from lightly.data import ijepa_collate
    from lightly.data.ijepa_collate import IJEPAMaskCollator
    from lightly.models import utils
    from lightly.models.modules.ijepa_timm import IJEPAPredictorTIMM
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


def test_ijepa():
    learner, images = step_of("ijepa", "backbone")
    with torch.no_grad():
        for parameter in learner.target.copies.parameters():
            parameter.mul_(1.1)
    ours, method = learner.method.predictor, learner.method
    theirs = IJEPAPredictorTIMM(64, 1, 32, 16, 2).double()
    torch.testing.assert_close(theirs.decoder.pos_embed[0], ours.positions)
    sharing(theirs.decoder, ours, ["blocks", "norm", "mask_token"])
    theirs.predictor_embed, theirs.predictor_proj = ours.embed, ours.project
    context = masked_vit(learner).encode(images=images, idx_keep=method.visible)
    targets = list(method.hidden.unbind(1))
    predicted = theirs(context, method.visible, targets)
    with torch.no_grad():
        tokens = images
        for block in learner.target.copies.values():
            tokens = block(tokens)
        tokens = utils.apply_masks(torch.nn.functional.layer_norm(tokens, (32,)), targets)
    expected = torch.nn.functional.smooth_l1_loss(predicted, tokens)
    same(learner, learner({0: images}).objective, expected)


USUAL, LARGE = (0.15, 0.2), (0.3, 0.35)


@pytest.mark.parametrize(
    ("side", "min_keep", "scale"), [(8, 4, USUAL), (8, 8, USUAL), (8, 16, LARGE), (14, 10, USUAL)]
)
def test_the_blocks_of_ijepa(monkeypatch, side, min_keep, scale):
    """Given the same random numbers; large targets leave no room, and the context covers some."""
    scales = {"enc_mask_scale": (0.85, 1.0), "pred_mask_scale": scale}
    rest = {"aspect_ratio": (0.75, 1.5), "nenc": 1, "npred": 4, "min_keep": min_keep}
    theirs = IJEPAMaskCollator((side, side), 1, **scales, **rest)
    images, places = 12, 81
    for seed in range(4):
        shares = torch.rand(2, generator=torch.Generator().manual_seed(seed)).tolist()
        target = block_size(side, scale, (0.75, 1.5), shares[0])
        context = block_size(side, (0.85, 1.0), (1.0, 1.0), shares[1])
        generator = torch.Generator().manual_seed(seed)
        sizes = (target, scale, (0.75, 1.5)), (context, (0.85, 1.0), (1.0, 1.0))
        for size, areas, aspect in sizes:
            assert theirs._sample_block_size(generator, areas, aspect) == size
        drawn = torch.Generator().manual_seed(100 + seed)
        visible, hidden = draw_blocks(images, 4, side, target, context, min_keep, drawn)
        again = torch.Generator().manual_seed(100 + seed)
        corners = [
            torch.stack(
                [torch.randint(0, side - each, (images, count), generator=again) for each in size],
                dim=-1,
            )
            for size, count in ((target, 4), (context, places))
        ]
        kept = []
        for image in range(images):
            fed = iter(torch.cat([each[image] for each in corners]).flatten().tolist())
            monkeypatch.setattr(
                ijepa_collate.torch, "randint", lambda *_, fed=fed: torch.tensor([next(fed)])
            )
            blocks = [theirs._sample_block_mask(target) for _ in range(4)]
            assert [block.tolist() for block, _ in blocks] == hidden[image].tolist()
            free = [complement for _, complement in blocks]
            kept.append(theirs._sample_block_mask(context, free)[0])
            monkeypatch.undo()
        fewest = min(map(len, kept))
        assert [mask[:fewest].tolist() for mask in kept] == visible.tolist()
        covered = (visible[:, :, None] == hidden.flatten(1)[:, None]).any()
        assert covered == (scale == LARGE)
