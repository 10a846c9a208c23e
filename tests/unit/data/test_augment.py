from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import binomtest, chisquare, ks_2samp
from torchvision.transforms import ColorJitter, GaussianBlur, InterpolationMode
from torchvision.transforms.v2 import functional as F

from emabench.data.augmentation import augment
from emabench.data.augmentation.augment import Augmenter, ViewParameters, normalize
from emabench.data.augmentation.blur import kernel_size
from emabench.data.augmentation.parameters import sample_parameters
from emabench.spec.data import ViewSpec

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
EVERYTHING = ViewSpec(
    jitter_probability=0.8,
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    grey_probability=0.3,
    blur_probability=0.5,
    solarize_probability=0.3,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(views: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation: float32 in 0..255."""
    std, mean = torch.tensor(STD).view(3, 1, 1), torch.tensor(MEAN).view(3, 1, 1)
    return (views * std + mean) * 255


def by_torchvision(image: torch.Tensor, p: ViewParameters, i: int, size: int) -> torch.Tensor:
    """The published chain on one image, with torchvision's functions on floats.

    On integers torchvision rounds after every step, and the next steps stretch what was lost.
    """
    box = [int(b[i]) for b in (p.top, p.left, p.height, p.width)]
    bicubic = InterpolationMode.BICUBIC
    x = image.permute(2, 0, 1).float() / 255
    x = F.resized_crop(x, *box, [size, size], bicubic, antialias=True).clamp(0, 1)
    jitter: list[tuple[Callable[..., torch.Tensor], torch.Tensor]] = [
        (F.adjust_brightness, p.brightness),
        (F.adjust_contrast, p.contrast),
        (F.adjust_saturation, p.saturation),
        (F.adjust_hue, p.hue),
    ]
    if p.jitter[i]:
        for which in p.order.tolist():
            operation, factors = jitter[which]
            x = operation(x, float(factors[i]))
    if p.grey[i]:
        x = F.rgb_to_grayscale(x, num_output_channels=3)
    if p.blur[i]:
        k, sigma = kernel_size(size), float(p.sigma[i])
        x = F.gaussian_blur(x, [k, k], [sigma, sigma])
    if p.solarize[i]:
        x = F.solarize(x, 127.5 / 255)
    return 255 * (F.horizontal_flip(x) if p.flip[i] else x)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fixture", ["colour_images", "large_images"])
def test_whole_chain_agrees_with_torchvision(
    fixture: str, seed: int, request: pytest.FixtureRequest
) -> None:
    images = request.getfixturevalue(fixture)
    augmenter = Augmenter(EVERYTHING, 32, MEAN, STD, CPU)
    source = (images.shape[1], images.shape[2])
    parameters = augmenter.sample(len(images), seeded(seed), source=source)
    ours = pixels(augmenter.apply(images, parameters))
    for index in range(len(images)):
        theirs = by_torchvision(images[index], parameters, index, 32)
        assert (ours[index] - theirs).abs().max() <= 0.1


def test_flip_mirrors_the_view(colour_images: torch.Tensor) -> None:
    views = {}
    for flip in (0.0, 1.0):
        view = EVERYTHING.model_copy(update={"flip_probability": flip})
        views[flip] = Augmenter(view, 32, MEAN, STD, CPU)(colour_images, seeded())
    torch.testing.assert_close(views[1.0], views[0.0].flip(3), atol=1e-4, rtol=1e-4)


def test_result_is_channels_last_float_of_the_size(large_images: torch.Tensor) -> None:
    views = Augmenter(ViewSpec(), 40, MEAN, STD, CPU)(large_images, seeded())
    assert views.shape == (12, 3, 40, 40)
    assert views.dtype == torch.float32
    assert views.is_contiguous(memory_format=torch.channels_last)


def test_same_seed_same_views_and_another_seed_others(colour_images: torch.Tensor) -> None:
    augmenter = Augmenter(EVERYTHING, 32, MEAN, STD, CPU)
    first = augmenter(colour_images, seeded(5))
    assert torch.equal(first, augmenter(colour_images, seeded(5)))
    assert not torch.equal(first, augmenter(colour_images, seeded(6)))


def test_global_generator_is_neither_read_nor_moved(colour_images: torch.Tensor) -> None:
    augmenter = Augmenter(EVERYTHING, 32, MEAN, STD, CPU)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = augmenter(colour_images, seeded())
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        assert torch.equal(first, augmenter(colour_images, seeded()))


def test_input_is_left_as_it_was(colour_images: torch.Tensor) -> None:
    before = colour_images.clone()
    Augmenter(EVERYTHING, 32, MEAN, STD, CPU)(colour_images, seeded())
    assert torch.equal(colour_images, before)


def test_pieces_give_what_the_whole_gives(
    colour_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmenter = Augmenter(EVERYTHING, 32, MEAN, STD, CPU)
    parameters = augmenter.sample(24, seeded())
    whole = augmenter.apply(colour_images, parameters)
    monkeypatch.setattr(augment, "_CHUNK_PIXELS", 5 * 32 * 32 // torch.get_num_threads())
    pieces = augmenter.apply(colour_images, parameters)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-4)


def test_samples_of_a_batch_differ(colour_images: torch.Tensor) -> None:
    same = colour_images[:1].expand(24, -1, -1, -1)
    views = Augmenter(ViewSpec(), 32, MEAN, STD, CPU)(same, seeded())
    assert len({view.numpy().tobytes() for view in views}) == 24


def test_nothing_asked_for_changes_nothing(colour_images: torch.Tensor) -> None:
    view = ViewSpec(
        crop_scale=(1.0, 1.0),
        crop_ratio=(1.0, 1.0),
        flip_probability=0,
        jitter_probability=0,
        grey_probability=0,
    )
    views = Augmenter(view, 32, MEAN, STD, CPU)(colour_images, seeded())
    expected = normalize(colour_images, MEAN, STD)
    torch.testing.assert_close(views, expected, atol=1e-5, rtol=1e-5)


def test_adding_an_operation_keeps_the_other_draws() -> None:
    plain = sample_parameters(ViewSpec(), 50, (32, 32), seeded())
    more = sample_parameters(EVERYTHING, 50, (32, 32), seeded())
    for name in ("top", "left", "height", "width", "flip", "order"):
        assert torch.equal(getattr(plain, name), getattr(more, name))


def test_factors_have_torchvisions_distribution() -> None:
    n = 4000
    view = ViewSpec(brightness=1.3, contrast=0.4, saturation=0.8, hue=0.2)
    ours = sample_parameters(view, n, (32, 32), seeded(1))
    jitter = ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        drawn = [
            ColorJitter.get_params(
                jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
            )
            for _ in range(n)
        ]
        sigma = [GaussianBlur.get_params(*view.blur_sigma) for _ in range(n)]
    theirs = list(zip(*drawn, strict=True))
    for column, name in enumerate(("brightness", "contrast", "saturation", "hue"), start=1):
        assert ks_2samp(getattr(ours, name).numpy(), theirs[column]).pvalue > 0.001, name
    assert ks_2samp(ours.sigma.numpy(), sigma).pvalue > 0.001


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("flip_probability", "flip"),
        ("jitter_probability", "jitter"),
        ("grey_probability", "grey"),
        ("blur_probability", "blur"),
        ("solarize_probability", "solarize"),
    ],
)
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_choices_have_their_probability(field: str, name: str, probability: float) -> None:
    view = ViewSpec().model_copy(update={field: probability})
    chosen = getattr(sample_parameters(view, 3000, (32, 32), seeded(3)), name)
    assert binomtest(int(chosen.sum()), 3000, probability).pvalue > 0.001


def test_order_of_the_jitter_is_uniform() -> None:
    generator = seeded(4)
    orders = [
        tuple(sample_parameters(ViewSpec(), 1, (8, 8), generator).order.tolist())
        for _ in range(2400)
    ]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 24
    assert chisquare(counts).pvalue > 0.001


def test_parameters_of_other_images_are_refused(colour_images: torch.Tensor) -> None:
    augmenter = Augmenter(ViewSpec(), 32, MEAN, STD, CPU)
    with pytest.raises(ValueError, match="parameters for 5 images"):
        augmenter.apply(colour_images, augmenter.sample(5, seeded()))
    with pytest.raises(ValueError, match=r"of \(48, 48\) pixels"):
        augmenter.apply(colour_images, augmenter.sample(24, seeded(), source=(48, 48)))


def test_normalize_is_torchvisions(colour_images: torch.Tensor) -> None:
    ours = normalize(colour_images, MEAN, STD)
    theirs = F.normalize(colour_images.permute(0, 3, 1, 2).float() / 255, MEAN, STD)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_an_empty_batch_stays_empty(colour_images: torch.Tensor) -> None:
    views = Augmenter(EVERYTHING, 32, MEAN, STD, CPU)(colour_images[:0], seeded())
    assert views.shape == (0, 3, 32, 32)
