"""The losses against formulas written out here, term by term, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from emabench.errors import SpecError, UnknownNameError
from emabench.methods import load_method, method_names

N, E, T = 5, 7, 0.2


def views(seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (N, E)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.double, requires_grad=True)
        for _ in range(2)
    )


def make(name, **options):
    method = load_method(name)
    if "temperature" in method.Options.model_fields:
        options = {"temperature": T} | options
    return method(method.Options(**options), feature_dim=E, train_images=64).double()


def unit(vector):
    return vector / vector.norm()


def written_out_simclr(online, target):
    anchors = [unit(v) for view in online for v in view]
    keys = [unit(v) for view in target for v in view]
    total = 0.0
    for i, anchor in enumerate(anchors):
        partner = (i + N) % (2 * N)
        others = [anchor @ keys[j] / T for j in range(2 * N) if j != i]
        total = total - (anchor @ keys[partner] / T - torch.logsumexp(torch.stack(others), 0))
    return total / (2 * N)


def written_out_moco(online, target, queue):
    total = 0.0
    for query_view, key_view in ((0, 1), (1, 0)):
        for query, key in zip(online[query_view], target[key_view], strict=True):
            own = unit(query) @ unit(key) / T
            negatives = [unit(query) @ slot / T for slot in queue[key_view]]
            total = total - own + torch.logsumexp(torch.stack([own, *negatives]), 0)
    return total / (2 * N)


def written_out_dcl(online, target):
    anchors = [unit(v) for view in online for v in view]
    keys = [unit(v) for view in target for v in view]
    total = 0.0
    for i, anchor in enumerate(anchors):
        partner = (i + N) % (2 * N)
        others = [anchor @ keys[j] / T for j in range(2 * N) if j not in (i, partner)]
        total = total - anchor @ keys[partner] / T + torch.logsumexp(torch.stack(others), 0)
    return total / (2 * N)


def written_out_byol(online, target):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for prediction, key in zip(online[a], target[b], strict=True):
            total = total + (unit(prediction) - unit(key)).square().sum()
    return total / N


def written_out_barlow_twins(online, target):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        left, right = online[a], target[b]
        for i in range(E):
            for j in range(E):
                x, y = left[:, i], right[:, j]
                x = (x - x.mean()) / (((x - x.mean()) ** 2).mean() + 1e-5) ** 0.5
                y = (y - y.mean()) / (((y - y.mean()) ** 2).mean() + 1e-5) ** 0.5
                c = (x * y).sum() / N
                total = total + ((1 - c) ** 2 if i == j else 0.0051 * c**2)
    return 0.1 * total / 2


def written_out_vicreg(online, target):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        z = online[a]
        total = total + 25 * ((z - target[b]) ** 2).sum() / (N * E) / 2
        means = [z[:, i].sum() / N for i in range(E)]
        for i in range(E):
            for j in range(E):
                cov = ((z[:, i] - means[i]) * (z[:, j] - means[j])).sum() / (N - 1)
                if i == j:
                    total = total + 25 * torch.clamp(1 - (cov + 1e-4) ** 0.5, min=0) / E
                else:
                    total = total + cov**2 / E
    return total


WRITTEN_OUT = {
    "simclr": written_out_simclr,
    "dcl": written_out_dcl,
    "byol": written_out_byol,
    "barlow_twins": written_out_barlow_twins,
    "vicreg": written_out_vicreg,
}


def same_value_and_gradient(loss, expected, inputs):
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    got = torch.autograd.grad(loss, inputs, retain_graph=True)
    wanted = torch.autograd.grad(expected, inputs)
    for mine, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_loss_is_its_formula_with_attached_and_with_separate_targets(name):
    method, online, target = make(name), views(0), views(1)
    expected = WRITTEN_OUT[name]
    same_value_and_gradient(method.loss(online, online), expected(online, online), online)
    both = (*online, *target)
    same_value_and_gradient(method.loss(online, target), expected(online, target), both)


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_loss_is_symmetric_in_the_views(name):
    method, online, target = make(name), views(0), views(1)
    swapped = method.loss(online[::-1], target[::-1])
    torch.testing.assert_close(method.loss(online, target), swapped)


def test_moco_contrasts_with_the_queue_of_the_keys_view():
    method, online, target = make("moco", queue_size=8, output_dim=E), views(0), views(1)
    earlier = views(2)
    method.remember(earlier)
    queue = [[unit(key.detach()) for key in view] for view in earlier]
    expected = written_out_moco(online, target, queue)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_moco_ignores_slots_that_are_not_filled():
    method, online = make("moco", queue_size=8, output_dim=E), views(0)
    loss = method.loss(online, online)
    assert loss.item() == 0, "with an empty queue there is nothing to contrast with"
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, online))


def test_moco_overwrites_its_oldest_keys():
    method = make("moco", queue_size=8, output_dim=E)
    first, second = views(1), views(2)
    method.remember(first)
    method.remember(second)
    ring = torch.cat([second[0][3:], first[0][2:], second[0][:3]])  # 10 keys in 8 slots
    torch.testing.assert_close(method.queue[0], F.normalize(ring, dim=1).detach())
    assert method.enqueued.item() == 10


def test_the_queue_is_part_of_the_state():
    method = make("moco", queue_size=8, output_dim=E)
    method.remember(views(1))
    copied = make("moco", queue_size=8, output_dim=E)
    copied.load_state_dict(method.state_dict())
    assert torch.equal(copied.queue, method.queue)
    assert torch.equal(copied.enqueued, method.enqueued)


def test_a_queue_longer_than_the_data_is_clamped_and_one_shorter_than_the_batch_refused():
    moco = load_method("moco")
    fitted, notes = moco.fit_options(moco.Options(queue_size=100), 64, 16)
    assert fitted.queue_size == 64
    assert "clamped to the 64" in notes[0]
    assert moco.fit_options(moco.Options(queue_size=64), 64, 16) == (
        moco.Options(queue_size=64),
        [],
    )
    with pytest.raises(SpecError, match="smaller than the batch"):
        moco.fit_options(moco.Options(queue_size=8), 64, 16)


def test_a_uniform_embedding_has_the_loss_of_chance():
    ones = (torch.ones(N, E, dtype=torch.double),) * 2
    assert make("simclr").loss(ones, ones).item() == pytest.approx(math.log(2 * N - 1))


def test_methods_are_found_by_their_files():
    assert {"simclr", "moco"} <= set(method_names())
    with pytest.raises(UnknownNameError) as caught:
        load_method("simcrl")
    assert "simclr" in caught.value.hint


@pytest.mark.parametrize("name", method_names())
def test_unknown_options_are_named(name):
    with pytest.raises(SpecError, match="unknown field 'hiden_dim'") as caught:
        load_method(name).parse_options(name, {"hiden_dim": 64})
    assert caught.value.hint == "did you mean hidden_dim?"
