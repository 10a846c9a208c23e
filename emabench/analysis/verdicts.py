"""Verdicts in words: on one metric of one arm, and whether the arm is cheaper and not worse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from emabench.analysis.metrics import MetricInfo
from emabench.analysis.statistics import Paired, more_seeds
from emabench.errors import UsageError
from emabench.table import fixed, signed

Answer = Literal["yes", "no", "undecided"]


class Verdict(StrEnum):
    """What the interval of a paired comparison says, oriented so that more is better."""

    EQUIVALENT = "equivalent"
    """The whole interval lies within the margin."""
    BETTER = "better"
    """The whole interval lies above no difference."""
    WORSE = "worse"
    """The whole interval lies below no difference."""
    NOT_WORSE = "not worse"
    """The whole interval lies above minus the margin."""
    INCONCLUSIVE = "inconclusive"
    """Anything may be true: more seeds are needed."""


@dataclass(frozen=True)
class Headline:
    """The answer for one arm: is it cheaper than the baseline, and not worse?

    Attributes:
        answer: ``yes``, ``no`` or ``undecided``.
        words: the answer and its reasons, one line without the name of the arm.
        accuracy: name of the metric that decides on ``not worse``.
        cost: name of the metric that decides on ``cheaper``.
        more_seeds: where undecided, how many more seeds would probably settle it; None where it is
            decided, where looks are planned, where there is no spread to judge by, or where very
            many would not do.
    """

    answer: Answer
    words: str
    accuracy: str
    cost: str
    more_seeds: int | None = None


@dataclass(frozen=True)
class Judged:
    """One metric of an arm, compared and judged.

    Attributes:
        metric: which.
        margin: a difference within it is none; of a ratio metric as a fraction. None: not given.
        paired: the comparison; None without a pair.
        verdict: None without an interval.
    """

    metric: MetricInfo
    margin: float | None
    paired: Paired | None
    verdict: Verdict | None


def judge(
    paired: Paired | None,
    metric: MetricInfo,
    margin: float | None,
    *,
    identical: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Verdict | None:
    """Return the verdict of a comparison, the first that fits; None without an interval.

    Equal differences of an accuracy come from its coarse steps, not from certainty: they have the
    spread of one test image, and are inconclusive where the number of images is unknown.

    Args:
        paired: arm against baseline.
        metric: gives the direction.
        margin: in the unit of the metric, or the fraction of a ratio; None allows neither
            ``equivalent`` nor ``not worse``.
        identical: whether all pairs agree on every test image, which is no chance.
        bounds: an interval of another risk, turned so that more is better; None is its own.
    """
    if bounds is None and paired is not None:
        bounds = oriented(paired, metric)
    if bounds is None or paired is None:
        return None
    if identical:
        return Verdict.EQUIVALENT
    if is_flat(paired):
        return Verdict.INCONCLUSIVE
    low, high = bounds
    width = margin_width(metric, margin)
    if -width <= low and high <= width:
        return Verdict.EQUIVALENT
    if low > 0:
        return Verdict.BETTER
    if high < 0:
        return Verdict.WORSE
    return Verdict.NOT_WORSE if low > -width else Verdict.INCONCLUSIVE


def is_flat(paired: Paired) -> bool:
    """Whether all differences are the same, so that the interval has no width to believe in.

    Where the resolution of the values is known, the interval has the width that this gives it.
    """
    if paired.kind == "ratio" or paired.sd is None:
        return False
    return paired.sd < 1e-9 and paired.resolution is None


def oriented(paired: Paired, metric: MetricInfo) -> tuple[float, float] | None:
    """Return the interval, of ratios in logarithms, turned so that more is better."""
    if paired.low is None or paired.high is None:
        return None
    ends = (paired.low, paired.high)
    if paired.kind == "ratio":
        ends = (math.log(ends[0]), math.log(ends[1]))
    return turned(ends, metric)


def turned(ends: tuple[float, float], metric: MetricInfo) -> tuple[float, float]:
    """Return an interval turned so that more is better."""
    return ends if metric.higher_is_better else (-ends[1], -ends[0])


def margin_width(metric: MetricInfo, margin: float | None) -> float:
    """Return the margin as a width of the oriented interval; 0 where none is given."""
    if margin is None:
        return 0.0
    return math.log1p(margin) if metric.kind == "ratio" else margin


def turned_truth(metric: MetricInfo, difference: float) -> float:
    """Return a difference from the baseline as the oriented interval has it.

    Args:
        metric: gives direction and kind.
        difference: in the unit of the metric; of a ratio the fraction, -0.1 is a tenth less.

    Raises:
        UsageError: nothing of a ratio, or less, would be left.
    """
    if metric.kind == "ratio":
        if difference <= -1:
            raise UsageError(
                f"--difference {difference:g}: {metric.name} is compared as a ratio, of which "
                "nothing would be left",
                hint="0.1 is a tenth more than the baseline, -0.1 a tenth less",
            )
        difference = math.log1p(difference)
    return difference if metric.higher_is_better else -difference


def in_words(verdict: Verdict | None, metric: MetricInfo, margin: float | None) -> str:
    """Return a verdict for people, with the margin that it depends on."""
    if verdict is None:
        return "no verdict"
    width = "" if margin is None else _margin_in_words(metric, margin)
    if verdict is Verdict.EQUIVALENT:
        return f"equivalent within ±{width}" if width else "equal"
    return f"not worse (margin {width})" if verdict is Verdict.NOT_WORSE else verdict.value


def headline(accuracy: Judged, cost: Judged, baseline: str) -> Headline:
    """Return whether an arm is cheaper than the baseline and not worse."""
    cheaper = _is_cheaper(cost)
    as_good = _is_as_good(accuracy)
    answer: Answer = "undecided"
    if cheaper is False or as_good is False:
        answer = "no"
    elif cheaper and as_good:
        answer = "yes"
    planned = accuracy.paired is not None and accuracy.paired.look is not None
    is_open = answer == "undecided" and not planned
    needed = _needed(accuracy, cost, cheaper, as_good) if is_open else None
    reasons = ", ".join(_reason(each) for each in (cost, accuracy))
    words = f"cheaper and not worse than {baseline}: {answer} ({reasons})"
    if answer == "undecided":
        words += f"; {_advice(accuracy, cost, needed)}"
    return Headline(answer, words, accuracy.metric.name, cost.metric.name, needed)


def _is_cheaper(cost: Judged) -> bool | None:
    bounds = None if cost.paired is None else oriented(cost.paired, cost.metric)
    if bounds is None:
        return None
    if bounds[0] > 0:
        return True
    return False if bounds[1] < 0 or cost.verdict is Verdict.EQUIVALENT else None


def _is_as_good(accuracy: Judged) -> bool | None:
    if accuracy.verdict in (None, Verdict.INCONCLUSIVE):
        return None
    return accuracy.verdict is not Verdict.WORSE


def _needed(
    accuracy: Judged, cost: Judged, cheaper: bool | None, as_good: bool | None
) -> int | None:
    """Return how many more seeds settle what is open; None if one of them cannot be settled."""
    needed = 0
    for judged, settled in ((cost, cheaper), (accuracy, as_good)):
        if settled is not None:
            continue
        paired = judged.paired
        if paired is None or paired.sd is None or paired.over == "steps" or is_flat(paired):
            return None
        centre = math.log(paired.value) if paired.kind == "ratio" else paired.value
        sign = 1 if judged.metric.higher_is_better else -1
        margin = 0.0 if judged is cost else margin_width(judged.metric, judged.margin)
        spread = max(paired.sd, paired.resolution or 0.0)
        more = more_seeds(sign * centre, spread, paired.n, margin)
        if more is None:
            return None
        needed = max(needed, more)
    return needed


def _advice(accuracy: Judged, cost: Judged, needed: int | None) -> str:
    if needed is not None:
        seeds = "1 more seed" if needed == 1 else f"about {needed} more seeds"
        return f"{seeds} would probably settle it"
    if cost.metric.over == "steps" and _is_cheaper(cost) is None:
        is_timed = cost.paired is not None
        return "a longer bench may tell" if is_timed else "no bench times both, as for EMA scopes"
    pairs = [0 if each.paired is None else each.paired.n for each in (accuracy, cost)]
    if min(pairs) == 0:
        return "there is no pair to judge by"
    look = None if accuracy.paired is None else accuracy.paired.look
    if look is not None:
        where = f"the {'first' if look.number == 0 else 'next'} look is at {look.following} pairs"
        return where if look.following else "that was the last look"
    if min(pairs) == 1:
        return "one pair has no interval: run 3 seeds or more"
    if any(each.paired is not None and is_flat(each.paired) for each in (accuracy, cost)):
        return "the differences are all equal, so their spread is unknown"
    if accuracy.margin is None:
        return "a margin may settle it, see --margin"
    return "more than 1000 more seeds would be needed"


def _reason(judged: Judged) -> str:
    words = in_words(judged.verdict, judged.metric, judged.margin)
    paired = judged.paired
    if paired is None:
        return f"{judged.metric.name} without a pair"
    numbers = paired_in_words(paired, judged.metric)
    return f"{judged.metric.name} {numbers} {words}"


def paired_in_words(paired: Paired, metric: MetricInfo) -> str:
    """Return the value and its interval, rounded, such as ``+0.10 [-0.20, +0.40]``."""
    value, low, high = (
        change_in_words(number, metric) for number in (paired.value, paired.low, paired.high)
    )
    return value if paired.low is None else f"{value} [{low}, {high}]"


def change_in_words(change: float | None, metric: MetricInfo) -> str:
    """Return a difference of two values of a metric, or their ratio, rounded."""
    if metric.kind == "ratio":
        return fixed(change, 3)
    return signed(change) if metric.unit == "%" else signed(change, 4)


def _margin_in_words(metric: MetricInfo, margin: float) -> str:
    return f"{100 * margin:g} %" if metric.kind == "ratio" else f"{margin:g}"
