"""The losses against those of lightly, where it has the published formula, in float64.

lightly's NNCLR and MoCo v3 examples use another formula, and it has no ReSSL: those three are
tested against formulas written out in ``tests/unit/methods``, like all others.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from emabench.methods import load_method
from emabench.methods._method import TrainingSet

pytestmark = pytest.mark.parity

N, E, T = 32, 8, 0.2


@pytest.fixture(scope="module")
def oracle():
    """The module ``lightly.loss``; what it warns of when it is imported is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightly.loss

    return lightly.loss


def views(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn((N, E), generator=generator, dtype=torch.double, requires_grad=True)
        for _ in range(count)
    )


def make(name, **options):
    method = load_method(name)
    if "temperature" in method.Options.model_fields:
        options = {"temperature": T} | options
    return method(method.Options(**options), E, TrainingSet(images=64, classes=4)).double()


def same(loss, expected, inputs):
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
    got = torch.autograd.grad(loss, inputs, retain_graph=True)
    wanted = torch.autograd.grad(expected, inputs)
    for mine, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_simclr(oracle):
    online = views(0)
    expected = oracle.NTXentLoss(temperature=T)(*online)
    same(make("simclr").loss(online, online), expected, online)


def test_moco(oracle):
    online, target, earlier = views(0), tuple(v.detach() for v in views(1)), views(2)
    method = make("moco", queue_size=N, output_dim=E)
    method.remember(earlier)
    halves = []
    for query, key in ((0, 1), (1, 0)):
        loss = oracle.NTXentLoss(temperature=T, memory_bank_size=(N, E))
        bank = torch.nn.functional.normalize(earlier[key].detach(), dim=1)
        loss.memory_bank.bank = bank
        loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
        halves.append(loss(online[query], target[key]))
    same(method.loss(online, target), sum(halves) / 2, online)


def test_dcl(oracle):
    online = views(0)
    first, second = oracle.DCLLoss(temperature=T), online
    same(make("dcl").loss(online, online), first(*second), online)


def test_byol(oracle):
    online, target = views(0), views(1)
    cosine = oracle.NegativeCosineSimilarity()
    expected = 4 + 2 * cosine(online[0], target[1]) + 2 * cosine(online[1], target[0])
    same(make("byol").loss(online, target), expected, (*online, *target))


def test_simsiam(oracle):
    online, target = views(0), views(1)
    cosine = oracle.NegativeCosineSimilarity()
    expected = (cosine(online[0], target[1]) + cosine(online[1], target[0])) / 2
    same(make("simsiam").loss(online, target), expected, (*online, *target))


def test_barlow_twins(oracle):
    online = views(0)
    expected = 0.1 * oracle.BarlowTwinsLoss(lambda_param=0.0051)(*online)
    same(make("barlow_twins").loss(online, online), expected, online)


def test_vicreg(oracle):
    """The paper sums the variance terms of the two views, lightly takes their mean."""
    online = views(0)
    expected = oracle.VICRegLoss(lambda_param=25, mu_param=50, nu_param=1)(*online)
    same(make("vicreg").loss(online, online), expected, online)


def test_wmse(oracle):
    online = views(0)
    whole = oracle.WMSELoss(embedding_dim=E, w_size=N, track_running_stats=False)
    method = make("wmse", whitening_size=N, output_dim=E)
    same(method.loss(online, online), whole(torch.cat(online)), online)


@pytest.mark.parametrize("local", [0, 3])
def test_dino(oracle, local):
    method = make("dino", prototypes=E)
    theirs = oracle.DINOLoss(E, teacher_temp=0.07, student_temp=T, center_momentum=0.9).double()
    for step in range(3):
        online = views(2 * step, 2 + local)
        target = tuple(v.detach() for v in views(2 * step + 1))
        expected = theirs(list(target), list(online))
        same(method.loss(online, target), expected, online)
        method.remember(target)
        torch.testing.assert_close(method.center, theirs.center.flatten())


@pytest.mark.parametrize("local", [0, 3])
@pytest.mark.parametrize("with_queue", [False, True])
def test_swav(oracle, with_queue, local):
    method = make("swav", prototypes=E, queue_size=N, queue_from_epoch=1, frozen_epochs=0)
    online, earlier = views(0, 2 + local), tuple(v.detach() for v in views(1))
    method.remember(earlier)
    method.begin_epoch(1 if with_queue else 0, method.build_projector(method.options, E))
    theirs = oracle.SwaVLoss(temperature=T, sinkhorn_iterations=3, sinkhorn_epsilon=0.05)
    expected = theirs(list(online[:2]), list(online[2:]), list(earlier) if with_queue else None)
    same(method.loss(online, online[:2]), expected.squeeze(), online)


@pytest.mark.parametrize("local", [0, 3])
def test_lejepa_given_the_same_slices(oracle, monkeypatch, local):
    from lightly.loss import lejepa_loss

    online = views(0, 2 + local)
    method = make("lejepa", output_dim=E, slices=64, regularization_weight=0.05)
    method.begin_step(torch.Generator().manual_seed(3))
    regularity = oracle.SIGReg(num_vectors=64).double()
    monkeypatch.setattr(regularity, "_generate_unit_vectors", lambda *_: method.slices)
    every = torch.stack(online)
    invariance = lejepa_loss.lejepa_invariance_loss(all_proj=every, global_proj=every[:2])
    expected = 0.05 * regularity(every) + 0.95 * invariance
    same(method.loss(online, online[:2]), expected, online)
