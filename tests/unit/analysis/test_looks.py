"""Planned looks and intervals for any time: their levels spend 5 %, simulated anew."""

import numpy as np
import pytest
from scipy.special import stdtrit

from emabench.analysis.looking.anytime import anytime_reach
from emabench.analysis.looking.corrected import shared_risk
from emabench.analysis.looking.looks import RISK, USUAL_LOOKS, plan_looks
from emabench.analysis.statistics import (
    IntervalRule,
    interval_of,
    paired_difference,
    paired_ratio,
    skewness,
)


def sizes_of_t(pairs, *, studies=40_000, seed=3):
    """Return |t| [studies, looks] of normal differences around 0."""
    draws = np.random.default_rng(seed).standard_normal((studies, max(pairs)))
    found = []
    for n in pairs:
        some = draws[:, :n]
        found.append(np.abs(some.mean(axis=1)) / some.std(axis=1, ddof=1) * np.sqrt(n))
    return np.stack(found, axis=1)


@pytest.mark.parametrize("pairs", [USUAL_LOOKS, (2, 3, 4), (5, 6, 20)])
def test_the_looks_together_miss_the_truth_in_one_of_twenty_studies(pairs):
    looks = plan_looks(pairs)
    bounds = [stdtrit(n - 1, 1 - a / 2) for n, a in zip(looks.pairs, looks.levels, strict=True)]
    missed = np.maximum.accumulate(sizes_of_t(pairs) > bounds, axis=1).mean(axis=0)
    spent = RISK * (np.asarray(pairs) / pairs[-1]) ** 2
    error = np.sqrt(spent / 40_000)
    assert np.all(np.abs(missed - spent) < 4 * error)


def test_the_usual_levels_and_a_single_look():
    assert plan_looks(USUAL_LOOKS).levels == pytest.approx(
        (0.0031, 0.0054, 0.0120, 0.0384), abs=5e-5
    )
    assert plan_looks((8,)).levels == (RISK,)


def test_a_look_is_reached_by_its_pairs():
    looks = plan_looks(USUAL_LOOKS)
    assert [looks.reached(n) for n in (4, 5, 7, 8, 20, 30)] == [None, 0, 0, 1, 3, 3]
    assert [looks.following(n) for n in (4, 5, 8, 20)] == [5, 8, 12, None]


def test_less_risk_is_shared_by_the_looks_and_adds_up():
    looks = plan_looks(USUAL_LOOKS)
    parts = [looks.level(place, 0.01) for place in range(4)]
    assert sum(parts) == pytest.approx(0.01)
    bounds = [stdtrit(n - 1, 1 - a / 2) for n, a in zip(looks.pairs, parts, strict=True)]
    missed = (sizes_of_t(USUAL_LOOKS) > bounds).any(axis=1).mean()
    assert 0.006 < missed < 0.0115


def test_pairs_beyond_a_look_wait_for_the_next():
    looks = plan_looks(USUAL_LOOKS)
    values = [1.0, 2.0, 0.5, 1.5, 1.2, 90.0, 80.0]
    found = paired_difference(values, [0.0] * 7, "looks", looks=looks)
    alone = paired_difference(values[:5], [0.0] * 5)
    assert (found.n, found.value) == (5, alone.value)
    assert found.high - found.low > alone.high - alone.low
    assert (found.look.number, found.look.pairs, found.look.following, found.look.there) == (
        *(1, 5, 8, 7),
    )
    early = paired_difference(values[:4], [0.0] * 4, "looks", looks=looks)
    assert (early.low, early.high, early.look.number, early.n) == (None, None, 0, 4)
    ratio = paired_ratio([2.0, 2.1, 2.2, 2.3, 2.4], [1.0] * 5, "looks", looks=looks)
    assert ratio.low < paired_ratio([2.0, 2.1, 2.2, 2.3, 2.4], [1.0] * 5).low


def test_intervals_for_any_time_hold_at_every_number_of_pairs():
    pairs = tuple(range(2, 41))
    bounds = [anytime_reach(n, RISK) for n in pairs]
    missed = (sizes_of_t(pairs, studies=10_000) > bounds).any(axis=1).mean()
    assert 0.01 < missed < RISK
    assert np.isinf(bounds[:3]).all()
    assert np.isfinite(bounds[3:]).all()
    # At 20 pairs some 1.6 times the fixed interval.
    assert anytime_reach(20, RISK) / IntervalRule().reach(20) == pytest.approx(1.63, abs=0.02)


def test_equal_differences_have_the_spread_of_one_test_image():
    found = paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], resolution=0.1)
    half = stdtrit(2, 0.975) * 0.1 / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half))
    assert found.sd == 0
    wide = paired_difference([1.0, 5.0, 3.0], [0.0, 1.0, 2.0], resolution=0.1)
    assert wide.low == paired_difference([1.0, 5.0, 3.0], [0.0, 1.0, 2.0]).low
    assert interval_of(wide, IntervalRule()) == pytest.approx((wide.low, wide.high))


def families(truths, *, studies=4000, n=10, seed=1):
    """Yield the intervals of studies whose questions have these true means, and a spread of 1."""
    generator = np.random.default_rng(seed)
    for _ in range(studies):
        draws = generator.standard_normal((len(truths), n)) + np.asarray(truths)[:, None]
        means, errors = draws.mean(axis=1), draws.std(axis=1, ddof=1) / np.sqrt(n)
        yield [
            lambda risk, m=m, e=e: (
                m - stdtrit(n - 1, 1 - risk / 2) * e,
                m + stdtrit(n - 1, 1 - risk / 2) * e,
            )
            for m, e in zip(means, errors, strict=True)
        ]


@pytest.mark.parametrize("truths", [(0.0,) * 6, (0.0, 0.0, 3.0, 3.0, 3.0, 3.0)])
def test_corrected_verdicts_are_false_for_any_question_in_one_study_of_twenty(truths):
    false = plain = 0
    for family in families(truths):
        risk = shared_risk(family)
        wrong = [f for f, truth in zip(family, truths, strict=True) if truth == 0]
        false += any(low > 0 or high < 0 for low, high in (each(risk) for each in wrong))
        plain += any(low > 0 or high < 0 for low, high in (each(RISK) for each in wrong))
    assert false / 4000 < 0.06
    assert plain / 4000 > 0.09


def test_what_is_clear_leaves_its_share_to_the_others():
    unclear = next(iter(families((0.0,) * 6, studies=1)))
    clear = next(iter(families((0.0, 9.0, 9.0, 9.0, 9.0, 9.0), studies=1)))
    assert shared_risk(unclear) == pytest.approx(RISK / 6)
    # Five ends of twelve have passed 0.
    assert shared_risk(clear) == pytest.approx(2 * RISK / 7)
    assert shared_risk([]) == RISK


def test_only_clear_skewness_is_told():
    assert skewness([0.0, 0.1, -0.1, 0.05, -0.05, 0.02, 5.0]) == pytest.approx(2.64, abs=0.02)
    assert skewness([0.0, 0.1, -0.1, 0.05, 5.0]) is None
    assert skewness([0.3, 0.1, -0.1, 0.05, -0.2, 0.2, -0.3]) is None
    assert skewness([1.0] * 9) is None
