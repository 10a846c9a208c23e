"""Intervals that hold at every number of pairs at once, so that anybody may look at any time.

Under the mixture N(0, 1) on the mean in standard deviations, fixed here once and for all, the Bayes
factor of Student's t against a mean of m is

    (1 + n)^(-1/2) · ((1 + t²/(n-1)) / (1 + t²/((n-1)(1 + n))))^(n/2)

(Gönen, Johnson, Lu and Westfall, The American Statistician 59, 2005, with a variance of 1). It
depends on the signs and ratios of the differences alone, and is a martingale that starts at 1 if m
is the mean of normal differences, whatever their spread (Pérez-Ortiz, Lardy, de Heide and Grünwald,
arXiv 2208.07610; Wang and Ramdas, arXiv 2310.03722, section 4). So it ever exceeds 1/risk with
probability ``risk`` at most (Ville), and the means that it does not speak against so clearly are a
confidence sequence. It is wide: 1.6 times the fixed interval at 20 pairs, and the whole line below
5.
"""

from __future__ import annotations

import math


def anytime_reach(n: int, risk: float) -> float:
    """Return how many standard errors the interval reaches to each side.

    Args:
        n: number of pairs.
        risk: chance that any of the intervals, at any number of pairs, misses the mean.

    Returns:
        Infinite where n pairs cannot speak against any mean.
    """
    if n < 2:
        return math.inf
    log_bound = 2 / n * (math.log1p(n) / 2 - math.log(risk))
    if log_bound >= math.log1p(n):
        return math.inf
    bound = math.exp(log_bound)
    return math.sqrt((n - 1) * (bound - 1) / (1 - bound / (1 + n)))
