"""Verdicts: what an interval says against a margin, and the headline made of two of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.analysis.metrics import parse_metric
from emabench.analysis.statistics import Paired, more_seeds
from emabench.analysis.verdicts import Judged, Verdict, headline, in_words, judge

TOP1, SPEED, TIME = (parse_metric(name) for name in ("top1", "throughput", "total_s"))


def difference(low, high, *, n=5):
    return Paired("difference", (low + high) / 2, low, high, n, sd=(high - low) / 2)


def ratio(low, high, *, n=5):
    return Paired("ratio", math.sqrt(low * high), low, high, n, sd=0.1)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.4, 0.4, Verdict.EQUIVALENT),
        (-0.5, 0.5, Verdict.EQUIVALENT),
        (0.1, 0.4, Verdict.EQUIVALENT),
        (-0.4, -0.1, Verdict.EQUIVALENT),
        (0.1, 0.6, Verdict.BETTER),
        (-0.6, -0.1, Verdict.WORSE),
        (-0.4, 0.6, Verdict.NOT_WORSE),
        (-0.5, 0.6, Verdict.INCONCLUSIVE),
        (-0.6, 0.6, Verdict.INCONCLUSIVE),
        (-0.6, 0.0, Verdict.INCONCLUSIVE),
        (0.0, 0.6, Verdict.NOT_WORSE),
    ],
)
def test_the_first_verdict_that_fits_is_given(low, high, verdict):
    assert judge(difference(low, high), TOP1, 0.5) is verdict


def test_without_a_margin_only_the_sign_can_be_told():
    assert judge(difference(-0.1, 0.1), TOP1, None) is Verdict.INCONCLUSIVE
    assert judge(difference(0.1, 0.2), TOP1, None) is Verdict.BETTER
    assert judge(difference(-0.2, -0.1), TOP1, None) is Verdict.WORSE


def test_of_costs_less_is_better_unless_it_is_a_rate():
    assert judge(ratio(1.2, 1.4), SPEED, None) is Verdict.BETTER
    assert judge(ratio(1.2, 1.4), TIME, None) is Verdict.WORSE
    assert judge(ratio(0.7, 0.8), TIME, None) is Verdict.BETTER
    assert judge(ratio(0.99, 1.01), TIME, 0.02) is Verdict.EQUIVALENT
    assert judge(ratio(1 / 1.02, 1.02), TIME, 0.02 + 1e-12) is Verdict.EQUIVALENT
    assert judge(ratio(0.97, 1.01), TIME, 0.02) is Verdict.NOT_WORSE
    assert judge(ratio(0.9, 1.21), TIME, 0.2) is Verdict.INCONCLUSIVE
    assert judge(Paired("ratio", 1.0, 1.0, 1.0, 3, sd=0.0), TIME, None) is Verdict.EQUIVALENT


def test_one_pair_has_no_verdict_and_equal_differences_prove_nothing():
    assert judge(Paired("difference", 3.0, None, None, 1), TOP1, 0.5) is None
    assert judge(None, TOP1, 0.5) is None
    flat = Paired("difference", 0.1, 0.1, 0.1, 2, sd=0.0)
    assert judge(flat, TOP1, 0.5) is Verdict.INCONCLUSIVE
    assert judge(flat, TOP1, 0.5, identical=True) is Verdict.EQUIVALENT


def test_verdicts_in_words_name_the_margin():
    assert in_words(Verdict.EQUIVALENT, TOP1, 0.5) == "equivalent within ±0.5"
    assert in_words(Verdict.NOT_WORSE, SPEED, 0.05) == "not worse (margin 5 %)"
    assert in_words(Verdict.EQUIVALENT, SPEED, None) == "equal"
    assert in_words(None, TOP1, 0.5) == "no verdict"


def answer(top1, speed, *, margin=0.5):
    judged = [
        Judged(metric, width, paired, judge(paired, metric, width))
        for metric, width, paired in ((TOP1, margin, top1), (SPEED, None, speed))
    ]
    return headline(*judged, "full")


FASTER, SLOWER, UNSURE = ratio(1.2, 1.4), ratio(0.7, 0.9), ratio(0.9, 1.2)


@pytest.mark.parametrize(
    ("top1", "speed", "expected"),
    [
        (difference(-0.4, 0.4), FASTER, "yes"),
        (difference(0.1, 0.9), FASTER, "yes"),
        (difference(-0.4, 0.9), FASTER, "yes"),
        (difference(-0.9, 0.9), FASTER, "undecided"),
        (difference(-0.9, -0.1), FASTER, "no"),
        (difference(-0.4, 0.4), SLOWER, "no"),
        (difference(-0.9, 0.9), SLOWER, "no"),
        (difference(-0.4, 0.4), UNSURE, "undecided"),
        (difference(-0.4, 0.4), ratio(1.0, 1.0), "no"),
        (difference(-0.9, -0.1), UNSURE, "no"),
        (None, FASTER, "undecided"),
        (difference(-0.4, 0.4), None, "undecided"),
    ],
)
def test_cheaper_and_not_worse(top1, speed, expected):
    found = answer(top1, speed)
    assert found.answer == expected
    assert found.words.startswith(f"cheaper and not worse than full: {expected} (throughput ")
    assert (found.accuracy, found.cost) == ("top1", "throughput")
    if expected != "undecided":
        assert found.more_seeds is None


@pytest.mark.parametrize(
    ("top1", "margin", "words"),
    [
        (difference(-0.6, 0.6), 0.5, "more seeds would probably settle it"),
        (None, 0.5, "no pair to judge by"),
        (Paired("difference", 0.1, None, None, 1), 0.5, "run 3 seeds or more"),
        (Paired("difference", 0.1, 0.1, 0.1, 2, sd=0.0), 0.5, "all equal"),
        (difference(-0.5, 0.5), None, "a margin may settle it"),
        (Paired("difference", -0.25, -90, 90, 5, sd=99.0), 0.5, "more than 1000 more seeds"),
    ],
)
def test_undecided_says_what_would_settle_it(top1, margin, words):
    assert answer(top1, FASTER, margin=margin).words.endswith(words) or words in (
        answer(top1, FASTER, margin=margin).words
    )


@given(st.floats(-2, 2), st.floats(0.05, 1), st.integers(2, 20))
def test_the_number_of_seeds_is_the_smallest_that_probably_settles_it(centre, sd, n):
    from emabench.analysis.statistics import PROBABLY, _chance

    more = more_seeds(centre, sd, n, 0.5)
    if more is None:
        return
    assert _chance(centre, sd, n + more, 0.5) >= PROBABLY
    assert more == 1 or _chance(centre, sd, n + more - 1, 0.5) < PROBABLY


def test_a_wider_spread_needs_more_seeds_and_none_needs_none():
    few, many = (more_seeds(0.0, sd, 5, 0.5) for sd in (0.5, 1.0))
    assert 1 <= few < many
    assert more_seeds(0.0, 1.0, 5, 0.0) is None
    assert more_seeds(0.0, 0.0, 5, 0.5) is None
