from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emabench.data import loader
from emabench.data.images import ImageSet
from emabench.data.loader import Batch, EpochLoader
from emabench.errors import SpecError

CPU = torch.device("cpu")


def image_set(count: int) -> ImageSet:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    images.flags.writeable = False
    return ImageSet(images, np.arange(count, dtype=np.int64) % 5)


def same(a: Batch, b: Batch) -> bool:
    return all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in ("indices", "images", "labels")
    )


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5), st.integers(0, 70))
def test_resumed_epoch_goes_on_exactly(count: int, size: int, epoch: int, start: int) -> None:
    size = min(size, count)
    batches = list(EpochLoader(image_set(count), size, 3, CPU).epoch(epoch))
    rest = list(EpochLoader(image_set(count), size, 3, CPU).epoch(epoch, start))
    assert len(batches) == count // size
    assert len(rest) == max(0, len(batches) - start)
    assert all(same(a, b) for a, b in zip(batches[start:], rest, strict=True))


def test_epoch_shows_every_image_at_most_once_with_its_label() -> None:
    data = image_set(23)
    load = EpochLoader(data, 5, 0, CPU)
    assert load.steps_per_epoch == 4
    batches = list(load.epoch(0))
    seen = torch.cat([batch.indices for batch in batches])
    assert len(set(seen.tolist())) == 20
    for batch in batches:
        assert batch.images.dtype == torch.uint8
        assert batch.images[:, 0, 0, 0].tolist() == batch.indices.tolist()
        assert batch.labels.tolist() == [i % 5 for i in batch.indices.tolist()]


def test_order_depends_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = EpochLoader(image_set(40), 40, seed, CPU).epoch(epoch)
        return next(iter(batches)).indices.tolist()

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_resident_images_give_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_set(30)
    plain = EpochLoader(data, 7, 2, CPU)
    resident = EpochLoader(data, 7, 2, CPU)
    # What an accelerator gets, on the device that is here; copied in more than one piece.
    monkeypatch.setattr(loader, "_COPY_ROWS", 8)
    resident._resident = loader._copy_to(data.images, CPU)
    pairs = zip(plain.epoch(1), resident.epoch(1), strict=True)
    assert all(same(a, b) for a, b in pairs)


@pytest.mark.parametrize("size", [0, 31])
def test_impossible_batch_size_is_a_spec_error(size: int) -> None:
    with pytest.raises(SpecError, match=f"batch_size={size}") as caught:
        EpochLoader(image_set(30), size, 0, CPU)
    assert caught.value.hint


def test_negative_start_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        next(EpochLoader(image_set(30), 10, 0, CPU).epoch(0, -1))
