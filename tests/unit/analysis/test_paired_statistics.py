"""Intervals against scipy's own tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emabench.analysis.statistics import paired_difference, paired_ratio, summary

pairs = st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=12)


@given(pairs=pairs)
def test_the_interval_of_a_difference_is_that_of_the_paired_t_test(pairs):
    values, baseline = (list(column) for column in zip(*pairs, strict=True))
    got = paired_difference(values, baseline)
    differences = np.subtract(values, baseline)
    assert got.value == pytest.approx(differences.mean(), abs=1e-9)
    assert got.n == len(pairs)
    if differences.std() > 1e-6:
        expected = stats.ttest_rel(values, baseline).confidence_interval(0.95)
        assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-6)


@given(pairs=pairs)
def test_a_ratio_is_the_geometric_mean_with_t_on_the_logs(pairs):
    values, baseline = (list(column) for column in zip(*pairs, strict=True))
    got = paired_ratio(values, baseline)
    logs = np.log(values) - np.log(baseline)
    assert got.value == pytest.approx(np.exp(logs.mean()))
    if logs.std() > 1e-6:
        expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
        assert np.log([got.low, got.high]) == pytest.approx([expected.low, expected.high], rel=1e-6)


def test_a_bootstrap_is_that_of_scipy_and_not_t():
    values = [0.1, 0.4, 0.2, 1.9, 0.3, 0.5, 0.2, 0.6]
    got, plain = (paired_difference(values, [0.0] * 8, kind) for kind in ("bca", "t"))
    known = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(0))
    assert (got.low, got.high) == pytest.approx(tuple(known.confidence_interval))
    assert got.low > plain.low + 0.1
    assert got.high > plain.high + 0.1


def test_one_pair_has_no_interval_and_no_pair_no_comparison():
    alone = paired_difference([3.0], [1.0])
    assert (alone.value, alone.low, alone.high, alone.n) == (2.0, None, None, 1)
    assert paired_difference([], []) is None


def test_a_summary_knows_what_it_does_not_know():
    assert (summary([]).mean, summary([]).sd) == (None, None)
    assert (summary([4.0]).mean, summary([4.0]).sd) == (4.0, None)
    assert summary([1.0, 3.0]).sd == pytest.approx(2**0.5)
