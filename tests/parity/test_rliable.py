"""Figures over several tasks against those of rliable, with the same draws, to 1e-9."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from emabench.analysis.tasks.aggregates import interquartile_mean, probability_of_improvement

pytestmark = pytest.mark.parity

SCORES = np.random.default_rng(0).normal(60, 5, (7, 5)).round(1)
OTHERS = np.random.default_rng(1).normal(61, 5, (6, 5)).round(1)


@pytest.fixture(scope="module")
def oracle():
    """rliable's modules; what it warns of when it is imported is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("rliable", reason="needs the extra parity, with pandas below 3")
        from rliable import library, metrics
    return library, metrics


def test_the_interquartile_mean_is_rliables(oracle):
    _, metrics = oracle
    assert abs(interquartile_mean(SCORES) - metrics.aggregate_iqm(SCORES)) < 1e-9


def test_the_probability_of_improvement_is_rliables(oracle):
    _, metrics = oracle
    ours = probability_of_improvement(SCORES, OTHERS)
    assert abs(ours - metrics.probability_of_improvement(SCORES, OTHERS)) < 1e-9


def test_the_interval_of_the_same_resamples_is_rliables(oracle):
    library, metrics = oracle
    # It draws with the global state of numpy.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(3)
        resamples = library.StratifiedBootstrap(SCORES).bootstrap(500)
        draws = np.stack([np.array(data[0][0]) for data in resamples])
        np.random.seed(3)
        theirs = library.StratifiedBootstrap(SCORES).conf_int(
            metrics.aggregate_iqm, reps=500, size=0.95, method="percentile"
        )
    assert draws.shape == (500, 7, 5)
    ours = np.percentile(interquartile_mean(draws), (2.5, 97.5))
    assert np.abs(ours - np.ravel(theirs)).max() < 1e-9
