from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from emabench.data.augmentation import blur, colour

Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def planes(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2).float().contiguous()


def edge_colours() -> torch.Tensor:
    """All combinations of a few levels per channel: greys, primaries, ties, black and white."""
    levels = torch.tensor([0, 1, 64, 127, 128, 254, 255], dtype=torch.uint8)
    pixels = torch.cartesian_prod(levels, levels, levels)
    return pixels[:324].reshape(1, 18, 18, 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (colour.adjust_brightness, F.adjust_brightness, 0.0, 1.8),
        (colour.adjust_contrast, F.adjust_contrast, 0.0, 1.8),
        (colour.adjust_saturation, F.adjust_saturation, 0.0, 1.8),
        (colour.adjust_hue, F.adjust_hue, -0.5, 0.5),
    ],
)
def test_jitter_agrees_with_torchvision(
    ours: Operation,
    theirs: Callable[..., torch.Tensor],
    low: float,
    high: float,
    colour_images: torch.Tensor,
) -> None:
    edges = edge_colours()
    for images in (colour_images, edges.expand(24, -1, -1, -1)):
        factors = torch.linspace(low, high, len(images))
        result = ours(planes(images), factors)
        for index, factor in enumerate(factors.tolist()):
            source = images[index].permute(2, 0, 1)
            # Both of torchvision's paths: integers round in between, floats do not.
            integer = theirs(source, factor).float()
            exact = theirs(source.float() / 255, factor) * 255
            assert (result[index] - integer).abs().max() <= 2
            assert (result[index] - exact).abs().max() <= 0.02
        changed = (result - planes(images)).abs().amax(dim=(1, 2, 3))
        assert changed.max() > 20


def test_neutral_factors_change_nothing(colour_images: torch.Tensor) -> None:
    one = torch.ones(len(colour_images))
    expected = planes(colour_images)
    for operation in (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation):
        torch.testing.assert_close(operation(planes(colour_images), one), expected)
    turned = colour.adjust_hue(planes(colour_images), torch.zeros(len(colour_images)))
    torch.testing.assert_close(turned, expected, atol=1e-3, rtol=0)


def test_hue_leaves_grey_pixels_alone() -> None:
    grey = torch.linspace(0, 255, 48).view(1, 1, 6, 8).repeat(1, 3, 1, 1)
    turned = colour.adjust_hue(grey.clone(), torch.tensor([0.3]))
    torch.testing.assert_close(turned, grey)


def test_grey_agrees_with_torchvision(colour_images: torch.Tensor) -> None:
    theirs = F.rgb_to_grayscale(colour_images.permute(0, 3, 1, 2), num_output_channels=3)
    ours = colour.to_grey(planes(colour_images))
    assert (ours - theirs.float()).abs().max() <= 1


@pytest.mark.parametrize("threshold", [0, 100, 128, 255])
def test_solarize_agrees_with_torchvision(threshold: int, colour_images: torch.Tensor) -> None:
    theirs = F.solarize(colour_images.permute(0, 3, 1, 2), threshold)
    # Noise below half a step must not move a value across the threshold.
    ours = colour.solarize(planes(colour_images) - 0.1, threshold)
    assert (ours - theirs.float()).abs().max() <= 0.11


@pytest.mark.parametrize("kernel", [3, 5, 23])
def test_blur_agrees_with_torchvision(kernel: int, colour_images: torch.Tensor) -> None:
    images = planes(colour_images)
    sigmas = torch.linspace(0.1, 2.0, len(images))
    ours = blur.gaussian_blur(images, sigmas, kernel)
    for index, sigma in enumerate(sigmas.tolist()):
        source = colour_images[index].permute(2, 0, 1)
        theirs = F.gaussian_blur(source, [kernel, kernel], [sigma, sigma])
        assert (ours[index] - theirs.float()).abs().max() <= 1
    assert (ours[-1] - images[-1]).abs().max() > 5


def test_blur_of_an_oblong_image() -> None:
    images = torch.rand(2, 3, 9, 14)
    ours = blur.gaussian_blur(images, torch.tensor([0.7, 1.5]), 5)
    for index, sigma in enumerate((0.7, 1.5)):
        theirs = F.gaussian_blur(images[index], [5, 5], [sigma, sigma])
        torch.testing.assert_close(ours[index], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "expected"), [(28, 3), (32, 3), (64, 7), (96, 9), (224, 23)])
def test_blur_kernel_is_a_tenth_of_the_side(size: int, expected: int) -> None:
    assert blur.kernel_size(size) == expected
    assert math.isclose(expected, size / 10, abs_tol=1.5)
