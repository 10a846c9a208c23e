from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from emabench.data.augmentation import crop
from emabench.data.augmentation.crop import (
    AxisResampler,
    resize_weights,
    resized_crop,
    sample_boxes,
)
from emabench.spec.data import ViewSpec

CPU = torch.device("cpu")
BICUBIC = InterpolationMode.BICUBIC


def boxes(n: int, source: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return sample_boxes(ViewSpec(), n, (source, source), generator)


def cropped(images: torch.Tensor, size: int, box: tuple[torch.Tensor, ...]) -> torch.Tensor:
    top, left, height, width = box
    resample = AxisResampler(images.shape[1], size, CPU)
    return resized_crop(images, resample(top, height), resample(left, width))


@pytest.mark.parametrize("size", [16, 32, 48])
@pytest.mark.parametrize("fixture", ["colour_images", "large_images"])
def test_crop_agrees_with_torchvision(
    fixture: str, size: int, request: pytest.FixtureRequest
) -> None:
    images = request.getfixturevalue(fixture)
    box = boxes(len(images), images.shape[1])
    ours = cropped(images, size, box)
    for index in range(len(images)):
        where = [int(edge[index]) for edge in box]
        image = images[index].permute(2, 0, 1)
        # Integers are rounded after each of the two passes, floats are not.
        for source, bound in ((image, 2), (image.float(), 0.02)):
            theirs = F.resized_crop(source, *where, [size, size], BICUBIC, antialias=True)
            theirs = theirs.float().clamp(0, 255)
            assert (ours[index] - theirs).abs().max() <= bound


def test_crop_of_everything_is_the_image(colour_images: torch.Tensor) -> None:
    n = len(colour_images)
    zero, full = torch.zeros(n, dtype=torch.int64), torch.full((n,), 32)
    ours = cropped(colour_images, 32, (zero, zero, full, full))
    torch.testing.assert_close(ours, colour_images.permute(0, 3, 1, 2).float())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_table_gives_the_computed_weights(data: st.DataObject) -> None:
    source = data.draw(st.integers(2, 20))
    size = data.draw(st.integers(1, 24))
    length = data.draw(st.integers(1, source))
    start = data.draw(st.integers(0, source - length))
    flip = data.draw(st.booleans())
    resampler = AxisResampler(source, size, CPU)
    assert resampler._windows is not None
    starts, lengths = torch.tensor([start, start]), torch.tensor([length, length])
    flips = torch.tensor([flip, not flip])
    expected = resize_weights(starts, lengths, source, size)
    expected = torch.where(flips[:, None, None], expected.flip(2), expected)
    torch.testing.assert_close(resampler(starts, lengths, flips), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(expected.sum(1), torch.ones(2, size))


def test_without_a_table_the_crop_is_the_same(
    large_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = boxes(len(large_images), 96)
    flip = torch.arange(len(large_images)) % 2 == 0
    with_table = AxisResampler(96, 32, CPU)(box[1], box[3], flip)
    monkeypatch.setattr(crop, "_TABLE_BYTES", 0)
    without = AxisResampler(96, 32, CPU)
    assert without._windows is None
    torch.testing.assert_close(without(box[1], box[3], flip), with_table, atol=1e-5, rtol=0)


def torchvision_boxes(n: int, view: ViewSpec, height: int, width: int) -> torch.Tensor:
    image = torch.empty(3, height, width)
    scale, ratio = list(view.crop_scale), list(view.crop_ratio)
    drawn = [RandomResizedCrop.get_params(image, scale, ratio) for _ in range(n)]
    return torch.tensor(drawn)


@pytest.mark.parametrize("shape", [(32, 32), (200, 40)])
def test_boxes_have_torchvisions_distribution(shape: tuple[int, int]) -> None:
    view = ViewSpec()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        theirs = torchvision_boxes(4000, view, *shape)
    ours = torch.stack(sample_boxes(view, 4000, shape, torch.Generator().manual_seed(4)), 1)
    for column in range(4):
        assert ks_2samp(ours[:, column].numpy(), theirs[:, column].numpy()).pvalue > 0.001
    areas = [(b[:, 2] * b[:, 3]).numpy() for b in (ours, theirs)]
    ratios = [(b[:, 3] / b[:, 2]).numpy() for b in (ours, theirs)]
    assert ks_2samp(*areas).pvalue > 0.001
    assert ks_2samp(*ratios).pvalue > 0.001


@pytest.mark.parametrize("ratio", [(3.0, 4.0), (0.2, 0.3)])
def test_box_that_never_fits_is_the_centred_one(ratio: tuple[float, float]) -> None:
    view = ViewSpec(crop_scale=(1.0, 1.0), crop_ratio=ratio)
    ours = sample_boxes(view, 5, (32, 32), torch.Generator())
    expected = RandomResizedCrop.get_params(torch.empty(3, 32, 32), [1.0, 1.0], list(ratio))
    for got, want in zip(ours, expected, strict=True):
        assert got.tolist() == [want] * 5


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 2**31),
    st.floats(0.01, 1.0),
    st.floats(0.2, 5.0),
)
def test_every_box_lies_within_the_image(
    rows: int, columns: int, seed: int, scale: float, ratio: float
) -> None:
    view = ViewSpec(crop_scale=(scale, 1.0), crop_ratio=(ratio, ratio * math.sqrt(2)))
    generator = torch.Generator().manual_seed(seed)
    top, left, height, width = sample_boxes(view, 20, (rows, columns), generator)
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= rows).all()
    assert (left + width <= columns).all()
