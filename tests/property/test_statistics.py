"""Paired differences and ratios, for any values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.analysis.statistics import paired_difference, paired_ratio, summary

costs = st.floats(1e-3, 1e6)
pairs = st.lists(st.tuples(costs, costs), min_size=1, max_size=10)


def columns(pairs):
    first, second = zip(*pairs, strict=True)
    return list(first), list(second)


@given(pairs)
def test_exchanging_the_arms_turns_a_difference_round(pairs):
    first, second = columns(pairs)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.value == pytest.approx(-back.value)
    if there.low is not None:
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
        assert there.low <= there.value <= there.high


@given(pairs)
def test_exchanging_the_arms_inverts_a_ratio(pairs):
    first, second = columns(pairs)
    there, back = paired_ratio(first, second), paired_ratio(second, first)
    assert there.value == pytest.approx(1 / back.value)
    if there.low is not None:
        assert there.low <= there.value * (1 + 1e-12)
        assert there.value <= there.high * (1 + 1e-12)


@given(pairs, st.floats(0.1, 10))
def test_a_ratio_knows_no_unit(pairs, unit):
    first, second = columns(pairs)
    scaled = paired_ratio([unit * v for v in first], [unit * v for v in second])
    assert scaled.value == pytest.approx(paired_ratio(first, second).value)


@given(pairs, st.randoms())
def test_the_order_of_the_seeds_does_not_matter(pairs, random):
    mixed = random.sample(pairs, len(pairs))
    assert paired_difference(*columns(mixed)).value == pytest.approx(
        paired_difference(*columns(pairs)).value, abs=1e-6
    )


@given(st.lists(costs, min_size=1, max_size=10))
def test_the_mean_lies_among_the_values(values):
    whole = summary(values)
    assert min(values) * (1 - 1e-12) <= whole.mean <= max(values) * (1 + 1e-12)
    assert (whole.sd is None) == (len(values) == 1)


def test_a_cost_that_is_not_positive_has_no_ratio():
    assert paired_ratio([1.0, 0.0], [1.0, 1.0]) is None
    assert paired_ratio([], []) is None


def test_values_without_a_partner_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([1.0], [1.0, 2.0])
