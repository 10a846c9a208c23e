"""The sign-flip test against scipy, what it can attain, and Holm's correction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emabench.analysis.statistics import holm, sign_flip


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 16])
def test_p_is_that_of_scipy(n):
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.5, 1, n)
        expected = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert sign_flip(differences).p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("n", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125), (12, 2**-11)]
)
def test_the_smallest_p_is_that_of_equal_signs(n, smallest):
    found = sign_flip(np.linspace(1, 2, n))
    assert (found.p, found.smallest) == (smallest, smallest)


@pytest.mark.parametrize("n", [24, 40])
def test_many_pairs_are_sampled_and_give_the_same_p_every_time(n):
    differences = np.random.default_rng(n).normal(0.2, 1, n)
    found = sign_flip(differences)
    assert found == sign_flip(differences)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.05)
    everything_positive = sign_flip(np.linspace(1, 2, n))
    assert everything_positive.p == pytest.approx(everything_positive.smallest)


def test_no_difference_at_all_is_no_evidence():
    assert sign_flip(np.zeros(4)).p == 1
    assert sign_flip(np.array([1.0])) is None
    assert sign_flip(np.array([])) is None


def test_holm_is_the_step_down_method():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values):
    corrected = holm(p_values)
    for p, new in zip(p_values, corrected, strict=True):
        assert p <= new <= min(1.0, len(p_values) * p) or new == pytest.approx(p)
    assert [x for _, x in sorted(zip(p_values, corrected, strict=True))] == sorted(corrected)
