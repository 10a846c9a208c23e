"""The error of the test set: McNemar's for one pair, image by image for several."""

import numpy as np
import pytest

from emabench.analysis.statistics import image_error


def packed(flags):
    flags = np.asarray(flags, dtype=np.uint8)
    return np.packbits(flags).tobytes(), flags.size


def test_one_pair_has_mcnemars_variance():
    random = np.random.default_rng(0)
    arm, baseline = (random.random(1003) < 0.6 for _ in range(2))
    found = image_error([(packed(arm), packed(baseline))])
    gained, lost = int((arm & ~baseline).sum()), int((baseline & ~arm).sum())
    variance = (gained + lost - (gained - lost) ** 2 / 1003) / 1003**2
    assert found.se == pytest.approx(100 * variance**0.5)
    assert (found.gained, found.lost, found.images, found.n) == (gained, lost, 1003, 1)
    centre = 100 * (gained - lost) / 1003
    assert (found.low + found.high) / 2 == pytest.approx(centre)
    assert found.high - found.low == pytest.approx(2 * 1.95996 * found.se, rel=1e-5)


def test_of_several_pairs_the_images_stay_the_same():
    random = np.random.default_rng(1)
    arm, baseline = (packed(random.random(500) < 0.6) for _ in range(2))
    one = image_error([(arm, baseline)])
    assert image_error([(arm, baseline)] * 4).se == pytest.approx(one.se)
    others = [(packed(random.random(500) < 0.6), packed(random.random(500) < 0.6)) for _ in "abc"]
    assert image_error([(arm, baseline), *others]).se < one.se


def test_networks_that_agree_on_every_image_have_no_error():
    arm = packed([1, 0, 1])
    found = image_error([(arm, arm)])
    assert (found.se, found.low, found.high, found.gained, found.lost) == (0, 0, 0, 0, 0)


def test_nothing_or_unlike_numbers_of_images_give_nothing():
    assert image_error([]) is None
    assert image_error([(packed([1, 0]), packed([1, 0, 1]))]) is None
    assert image_error([(packed([]), packed([]))]) is None
