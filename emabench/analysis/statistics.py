"""What can be said of a few seeds: means, paired comparisons, their intervals, and their p.

In this order: how far an interval reaches, one arm, two arms seed by seed, the test of signs and
its correction, the error of the test set, whether differences are skewed, and how many more seeds
would settle it. scipy does the mathematics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emabench.analysis.looking.anytime import anytime_reach
from emabench.analysis.looking.looks import RISK, Looks
from emabench.analysis.metrics import Over

CONFIDENCE = 1 - RISK
Interval = Literal["t", "bca", "looks", "anytime"]
"""How an interval is computed: Student's t for a number of pairs fixed beforehand, a bias-corrected
and accelerated bootstrap, t at the planned looks of a study, or one that holds at any time."""
Values = NDArray[np.float64]
Packed = tuple[bytes, int]
"""One bit per test image, the first in the highest bit of the first byte; number of images."""

_EXACT_UP_TO = 16
"""Pairs up to which all sign patterns are tried."""
_RESAMPLES = 9999
"""Random sign patterns beyond that."""
NORMAL_QUANTILE = 1.959963984540054
"""Of the normal distribution, for a two-sided 95 % interval."""
_CLEARLY = 2.5758293035489004
"""Of the normal distribution, for one in a hundred on both sides together."""
PROBABLY = 0.8
"""Chance of a verdict that is asked for."""
MOST = 1000
"""Beyond so many more seeds the answer is that seeds will not do."""


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1); both None where they are not defined."""

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class MeanInterval:
    """A mean over seeds.

    Attributes:
        mean: in the unit of the values.
        low: lower end of the 95 % interval of the mean (Student's t); None for one seed.
        high: upper end.
        n: number of seeds whose value is known.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> MeanInterval | None:
        """Summarise one value per seed; None if no finite one is known."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        return cls(
            float(np.mean(known)), *_interval(np.asarray(known, float), IntervalRule()), len(known)
        )


@dataclass(frozen=True)
class Look:
    """A planned look at the pairs of one question.

    Attributes:
        number: counts the planned looks, from 1.
        of: how many are planned.
        pairs: at which it is taken.
        level: two-sided, of its interval.
        following: pairs of the next look; None after the last.
        there: pairs that are there; those beyond ``pairs`` wait for the next look.
    """

    number: int
    of: int
    pairs: int
    level: float
    following: int | None
    there: int


@dataclass(frozen=True)
class IntervalRule:
    """How far the interval of a mean reaches, by the number of pairs.

    Attributes:
        kind: which interval.
        looks: those that are planned, where it is that of a look.
    """

    kind: Interval = "t"
    looks: Looks | None = None

    def look(self, there: int) -> Look | None:
        """Return the look that so many pairs are enough for; None where no looks are planned."""
        if self.looks is None:
            return None
        place, following = self.looks.reached(there), self.looks.following(there)
        of = len(self.looks.pairs)
        if place is None:
            return Look(0, of, 0, 0.0, following, there)
        return Look(
            place + 1, of, self.looks.pairs[place], self.looks.levels[place], following, there
        )

    def reach(self, n: int, risk: float = RISK) -> float:
        """Return how many standard errors the interval reaches to each side.

        Args:
            n: number of pairs, of a look exactly as many as it takes.
            risk: chance that the interval, or any of those that go together, misses the truth.

        Returns:
            Infinite where n pairs have no interval.
        """
        # scipy.special loads in a fraction of the time of scipy.stats.
        from scipy.special import stdtrit

        if self.kind == "anytime":
            return anytime_reach(n, risk)
        level = risk
        if self.looks is not None:
            if n not in self.looks.pairs:
                return math.inf
            level = self.looks.level(self.looks.pairs.index(n), risk)
        return math.inf if n < 2 else float(stdtrit(n - 1, 1 - level / 2))


@dataclass(frozen=True)
class Paired:
    """A paired comparison with the baseline.

    Attributes:
        kind: ``difference`` (arm - baseline) or ``ratio`` (arm / baseline).
        value: the mean difference, or the geometric mean of the ratios.
        low: lower end of the 95 % interval; None where there is none: for n = 1, before the first
            planned look, and at any time below 5 pairs.
        high: upper end.
        n: number of pairs.
        sd: standard deviation of the differences, or of the logarithms of the ratios; None for
            n = 1.
        p: of the two-sided sign-flip test that there is no difference; None for n = 1.
        p_smallest: the smallest p that n pairs can attain.
        p_holm: ``p`` corrected for the number of arms by Holm; None with two arms.
        seeds: of the pairs.
        differences: of each pair, or the ratios; in the order of seeds.
        resolution: the smallest step of the values, which the interval takes for their spread at
            least; None is unknown.
        look: the planned look that it is taken at; None where none is planned.
        over: what the pairs are; steps have neither seeds nor ``differences`` here.
    """

    kind: Literal["difference", "ratio"]
    value: float
    low: float | None
    high: float | None
    n: int
    sd: float | None = None
    p: float | None = None
    p_smallest: float | None = None
    p_holm: float | None = None
    seeds: tuple[int, ...] = ()
    differences: tuple[float, ...] = ()
    resolution: float | None = None
    look: Look | None = None
    over: Over = "seeds"

    def by_seed(self, seed: int) -> float | None:
        """Return the difference or ratio of one pair; None if the seed has none."""
        return dict(zip(self.seeds, self.differences, strict=False)).get(seed)


def summary(values: Sequence[float]) -> Summary:
    """Summarise the values of several seeds, in any unit."""
    n = len(values)
    if n == 0:
        return Summary(0, None, None)
    mean = float(np.mean(values))
    return Summary(n, mean, None if n == 1 else float(np.std(values, ddof=1)))


def paired_difference(
    values: Sequence[float],
    baseline: Sequence[float],
    interval: Interval = "t",
    *,
    looks: Looks | None = None,
    resolution: float | None = None,
) -> Paired | None:
    """Compare two arms seed by seed, with a paired t interval unless another is asked for.

    Args:
        values: of the arm, in the order of seeds.
        baseline: of the baseline, for the same seeds.
        interval: ``bca`` covers less than 95 % with few pairs; it needs three.
        looks: those that are planned; the pairs beyond the look that is reached do not count yet.
        resolution: the smallest step of the values: differences that happen to be equal tell no
            more than that their spread is below it.

    Returns:
        The mean of arm - baseline in the unit of the values; None without a pair.
    """
    check_pairs(values, baseline)
    if not values:
        return None
    changes = np.asarray(values, float) - np.asarray(baseline, float)
    return _paired("difference", changes, IntervalRule(interval, looks), resolution)


def paired_ratio(
    values: Sequence[float],
    baseline: Sequence[float],
    interval: Interval = "t",
    *,
    looks: Looks | None = None,
) -> Paired | None:
    """Compare two costs seed by seed: the geometric mean of the ratios, t on their logarithms.

    Returns:
        The mean of arm / baseline; None without a pair, or where a cost is not positive, for
        example the bytes of an EMA copy that does not exist.
    """
    check_pairs(values, baseline)
    if not values or min(*values, *baseline) <= 0:
        return None
    changes = np.log(np.asarray(values, float) / np.asarray(baseline))
    return _paired("ratio", changes, IntervalRule(interval, looks), None)


def interval_of(
    paired: Paired, rule: IntervalRule, risk: float = RISK
) -> tuple[float, float] | None:
    """Return the interval of a comparison at another risk, of ratios in logarithms, if it has one.

    A bootstrap is not repeated: the interval is that of t.
    """
    if paired.sd is None:
        return None
    centre = math.log(paired.value) if paired.kind == "ratio" else paired.value
    half = _half(paired.n, paired.sd, rule, paired.resolution, risk)
    return None if half is None else (centre - half, centre + half)


def _paired(
    kind: Literal["difference", "ratio"],
    changes: Values,
    rule: IntervalRule,
    resolution: float | None,
) -> Paired:
    look = rule.look(changes.size)
    if look is not None and look.pairs:
        changes = changes[: look.pairs]
    n = changes.size
    low, high = _interval(changes, rule, resolution)
    test = sign_flip(changes)

    def shown(change: float) -> float:
        return math.exp(change) if kind == "ratio" else change

    return Paired(
        kind,
        shown(float(np.mean(changes))),
        None if low is None else shown(low),
        None if high is None else shown(high),
        n,
        sd=None if n == 1 else float(np.std(changes, ddof=1)),
        p=None if test is None else test.p,
        p_smallest=None if test is None else test.smallest,
        differences=tuple(shown(float(change)) for change in changes),
        resolution=resolution,
        look=look,
    )


def _interval(
    changes: Values, rule: IntervalRule, resolution: float | None = None
) -> tuple[float | None, float | None]:
    """Return the interval of the mean; None where there is none, as for one value."""
    n = changes.size
    if n == 1:
        return None, None
    if rule.kind == "bca" and n >= 3 and np.ptp(changes) > 0:
        return _bootstrap(changes)
    half = _half(n, float(np.std(changes, ddof=1)), rule, resolution, RISK)
    centre = float(np.mean(changes))
    return (None, None) if half is None else (centre - half, centre + half)


def _half(
    n: int, sd: float, rule: IntervalRule, resolution: float | None, risk: float
) -> float | None:
    reach = rule.reach(n, risk)
    if math.isinf(reach):
        return None
    return reach * max(sd, resolution or 0.0) / math.sqrt(n)


def _bootstrap(changes: Values) -> tuple[float, float]:
    from scipy import stats

    found: Any = stats.bootstrap(
        (changes,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def check_pairs(values: Sequence[float], baseline: Sequence[float]) -> None:
    """Refuse figures that are not as many on both sides."""
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values cannot be paired with {len(baseline)}")


@dataclass(frozen=True)
class SignFlip:
    """The two-sided p of the mean under all flips of signs, and the smallest that n can attain."""

    p: float
    smallest: float


def sign_flip(differences: NDArray[np.float64]) -> SignFlip | None:
    """Test that paired differences [n] are as often positive as negative, whatever their size.

    Exact up to 16 pairs; beyond, 9,999 patterns are drawn with a fixed seed, and the observed one
    counts as one more (Phipson and Smyth, arXiv 1603.05766). None for fewer than two pairs.
    """
    n = differences.size
    if n < 2:
        return None
    observed = abs(float(differences.sum()))
    sums = np.abs(_patterns(n) @ differences)
    as_large = sums >= observed - 1e-9 * float(np.abs(differences).sum())
    if n > _EXACT_UP_TO:
        return SignFlip((int(as_large.sum()) + 1) / (_RESAMPLES + 1), 1 / (_RESAMPLES + 1))
    return SignFlip(float(np.mean(as_large)), 2.0 ** (1 - n))


@lru_cache(maxsize=8)
def _patterns(n: int) -> NDArray[np.float64]:
    """Return sign patterns [P, n], the same for all comparisons of n pairs."""
    if n > _EXACT_UP_TO:
        bits = np.random.default_rng(0).integers(0, 2, (_RESAMPLES, n))
    else:
        # The first sign stays: a pattern and its opposite have the same absolute mean.
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
    return (1 - 2 * bits).astype(np.float64)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p of several comparisons by Holm's method; None stays None.

    The family are all that are given: the chance that any of them is below 0.05 although there is
    no difference anywhere stays at most 5 % (Holm, 1979).
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return corrected


@dataclass(frozen=True)
class ImageError:
    """The error that other test images would bring, with the trained networks as they are.

    It is paired: both arms classify the same images. For one pair of runs its square is McNemar's
    variance; over several the mean over them is taken image by image.

    Attributes:
        se: standard error of the difference in percentage points.
        low: lower end of the 95 % interval of the difference, from the normal distribution.
        high: upper end.
        images: number of test images.
        n: pairs of runs.
        gained: images that only the arm classified rightly, mean over pairs.
        lost: images that only the baseline classified rightly, mean over pairs.
    """

    se: float
    low: float
    high: float
    images: int
    n: int
    gained: float
    lost: float


def image_error(pairs: Sequence[tuple[Packed, Packed]]) -> ImageError | None:
    """Return the test-set error of arm - baseline over pairs of runs.

    Args:
        pairs: which images arm and baseline classified rightly, for each pair of runs.

    Returns:
        None without a pair, or where the runs were not tested on the same number of images.
    """
    counts = {count for pair in pairs for _, count in pair}
    if len(counts) != 1 or not (images := counts.pop()):
        return None
    differences = np.zeros(images)
    gained = lost = 0
    for arm, baseline in pairs:
        difference = _unpacked(arm) - _unpacked(baseline)
        gained += int((difference > 0).sum())
        lost += int((difference < 0).sum())
        differences += difference
    differences /= len(pairs)
    se = 100 * float(differences.std()) / math.sqrt(images)
    centre = 100 * float(differences.mean())
    reach = NORMAL_QUANTILE * se
    n = len(pairs)
    return ImageError(se, centre - reach, centre + reach, images, n, gained / n, lost / n)


def _unpacked(packed: Packed) -> np.ndarray:
    bits, count = packed
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count).astype(np.int8)


def share_interval(right: Packed) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the share of test images that are classified rightly."""
    from scipy import stats

    bits = _unpacked(right)
    found = stats.binomtest(int(bits.sum()), len(bits)).proportion_ci(CONFIDENCE, "wilson")
    return float(found.low), float(found.high)


def skewness(differences: Sequence[float]) -> float | None:
    """Return the skewness of differences where it is clearly none of a normal distribution.

    Clearly: 2.58 standard errors from 0, which one in a hundred sets of normal differences is. Of
    fewer than 6 none can be.
    """
    n = len(differences)
    changes = np.asarray(differences, float)
    sd = float(np.std(changes)) if n > 5 else 0.0
    if sd < 1e-9:
        return None
    plain = float(np.mean((changes - changes.mean()) ** 3)) / sd**3
    skew = plain * math.sqrt(n * (n - 1)) / (n - 2)
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    return skew if abs(skew) > _CLEARLY * error else None


def more_seeds(centre: float, sd: float, n: int, margin: float) -> int | None:
    """Return the fewest further pairs with which an interval is probably decisive.

    It takes the mean and spread of the pairs so far for the true ones, so it is a guess, the
    rougher the fewer pairs there are. Decisive is an interval that lies above -margin or below 0.

    Args:
        centre: mean of the differences so far, oriented so that more is better.
        sd: their standard deviation.
        n: number of pairs so far, at least 2.
        margin: what counts as no difference; 0 asks for the sign.

    Returns:
        At least 1; None if more than 1000 would be needed.
    """
    if sd == 0:
        return None
    if _chance(centre, sd, n + MOST, margin) < PROBABLY:
        return None
    few, many = 1, MOST
    while few < many:
        middle = (few + many) // 2
        if _chance(centre, sd, n + middle, margin) < PROBABLY:
            few = middle + 1
        else:
            many = middle
    return few


def _chance(centre: float, sd: float, n: int, margin: float) -> float:
    """Return the chance that the interval of n pairs is decisive."""
    from scipy.special import ndtr

    error = sd / math.sqrt(n)
    half = IntervalRule().reach(n) * error
    not_worse = ndtr((centre + margin - half) / error)
    worse = ndtr((-half - centre) / error)
    return min(1.0, float(not_worse + worse))
