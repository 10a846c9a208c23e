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
    return method(method.Options(temperature=T, **options), feature_dim=E, train_images=64).double()


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


def same_value_and_gradient(loss, expected, inputs):
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    got = torch.autograd.grad(loss, inputs, retain_graph=True)
    wanted = torch.autograd.grad(expected, inputs)
    for mine, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


def test_simclr_is_nt_xent_with_attached_and_with_separate_targets():
    method, online, target = make("simclr"), views(0), views(1)
    same_value_and_gradient(method.loss(online, online), written_out_simclr(online, online), online)
    both = (*online, *target)
    same_value_and_gradient(method.loss(online, target), written_out_simclr(online, target), both)


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
    with pytest.raises(SpecError, match="unknown field 'temprature'") as caught:
        load_method(name).parse_options(name, {"temprature": 0.1})
    assert caught.value.hint == "did you mean temperature?"
