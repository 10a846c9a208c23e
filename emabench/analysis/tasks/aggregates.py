"""Figures over many tasks: interquartile mean, probability of improvement, stratified bootstrap.

They are those of Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep Reinforcement Learning
at the Edge of the Statistical Precipice" (arXiv 2108.13264), and of their package rliable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""[..., runs, tasks]"""
RESAMPLES = 5000


@dataclass(frozen=True)
class Aggregate:
    """A figure over tasks, with its 95 % interval by bootstrap."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: Scores) -> Scores:
    """Return the mean of the middle half of all scores, whatever their task.

    Args:
        scores: [..., runs, tasks].

    Returns:
        [...]
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    found: Scores = flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)
    return found


def probability_of_improvement(scores: Scores, others: Scores) -> Scores:
    """Return how often a run of the one beats a run of the other on a task, mean over the tasks.

    Equal scores count a half.

    Args:
        scores: [..., runs, tasks].
        others: [..., other runs, tasks].
    """
    ours, theirs = scores[..., :, None, :], others[..., None, :, :]
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    found: Scores = wins.mean(axis=(-1, -2, -3))
    return found


def resampled(scores: Scores, *, seed: int, resamples: int = RESAMPLES) -> Scores:
    """Return [resamples, runs, tasks]: runs drawn again, with replacement, for each task alone."""
    runs, tasks = scores.shape
    drawn = np.random.default_rng(seed).integers(0, runs, (resamples, runs, tasks))
    return scores[drawn, np.arange(tasks)]


def aggregate(figure: Callable[..., Scores], *scores: Scores) -> Aggregate:
    """Return a figure of scores [runs, tasks] with its percentile interval.

    Args:
        figure: takes as many arrays of scores as are given.
        scores: resampled independently of one another.
    """
    drawn = figure(*(resampled(each, seed=place) for place, each in enumerate(scores)))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Aggregate(float(figure(*scores)), float(low), float(high))
