"""The queue of earlier targets: a ring that survives a checkpoint."""

import pytest
import torch

from emabench.errors import SpecError
from emabench.methods import load_method
from emabench.methods._queue import Queue


def keys(seed, count=5):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_the_oldest_keys_are_overwritten():
    queue = Queue(queues=2, size=8, dim=3)
    first, second = (keys(1), keys(2)), (keys(3), keys(4))
    queue.push(*first)
    queue.push(*second)
    for mine, old, new in zip(queue.keys, first, second, strict=True):
        assert torch.equal(mine, torch.cat([new[3:], old[2:], new[:3]]))  # 10 keys in 8 slots
    assert queue.enqueued.item() == 10


def test_slots_are_empty_until_they_were_filled_once():
    queue = Queue(queues=1, size=8, dim=3)
    assert queue.empty_slots.all()
    queue.push(keys(0))
    assert queue.empty_slots.tolist() == [False] * 5 + [True] * 3
    queue.push(keys(1))
    assert not queue.empty_slots.any()


def test_the_queue_is_part_of_the_state():
    queue, other = Queue(1, 8, 3), Queue(1, 8, 3)
    queue.push(keys(1))
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.keys, queue.keys)
    other.push(keys(2))
    queue.push(keys(2))
    assert torch.equal(other.keys, queue.keys), "it goes on in the same slot"


@pytest.mark.parametrize("name", ["moco", "nnclr", "ressl", "swav"])
def test_a_queue_is_clamped_to_the_data_and_never_shorter_than_the_batch(name):
    method = load_method(name)
    fitted, notes = method.fit_options(method.Options(queue_size=100), 64, 16)
    assert fitted.queue_size == 64
    assert notes == ["method.options.queue_size=100 is clamped to the 64 training images"]
    exact = method.Options(queue_size=64)
    assert method.fit_options(exact, 64, 16) == (exact, [])
    with pytest.raises(SpecError, match="smaller than the batch"):
        method.fit_options(method.Options(queue_size=8), 64, 16)
