"""What ``studies plan`` says is what happens: simulated through the comparison itself."""

from itertools import pairwise

import numpy as np
import pytest

from emabench.analysis.looking.chances import PairSpread, chances
from emabench.analysis.looking.looks import plan_looks
from emabench.analysis.looking.said_of_looks import is_decided
from emabench.analysis.metrics import parse_metric
from emabench.analysis.statistics import paired_difference
from emabench.analysis.verdicts import judge, margin_width, turned_truth
from emabench.errors import UsageError
from emabench.plans.study_outlook import question_outlooks

LOOKS = plan_looks((5, 8, 12))
MARGIN = 0.5
TOP1 = parse_metric("top1")


def concluding(spread, studies, truth=0.0):
    """Return the share of simulated studies that have a verdict by their last look."""
    generator = np.random.default_rng(99)
    decided = 0
    for _ in range(studies):
        changes = generator.normal(truth, spread, LOOKS.pairs[-1])
        for n in LOOKS.pairs:
            found = paired_difference(list(changes[:n]), [0.0] * n, "looks", looks=LOOKS)
            if is_decided(judge(found, TOP1, MARGIN)):
                decided += 1
                break
    return decided / studies


def said(spread, truth=0.0):
    return chances(LOOKS, spread, MARGIN, truth)[-1]


def test_the_chance_that_is_said_is_the_share_that_concludes():
    assert concluding(0.55, 150) == pytest.approx(said(0.55), abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1.2, 0.85, 0.7, 0.6, 0.55, 0.5, 0.45])
@pytest.mark.parametrize("truth", [0.0, 0.25])
def test_the_plan_is_calibrated_from_small_chances_to_large_ones(spread, truth):
    share = concluding(spread, 2000, truth)
    assert share > 0.05
    assert share == pytest.approx(said(spread, truth), abs=0.1)


def test_chances_grow_with_the_looks_and_shrink_with_the_spread():
    by_look = chances(LOOKS, 0.6, MARGIN)
    assert list(by_look) == sorted(by_look)
    assert all(a > b for a, b in pairwise(said(s) for s in (0.4, 0.6, 0.9, 1.4)))
    assert said(0.9, truth=2.0) > 0.99
    assert chances(LOOKS, 0.001, MARGIN, 0.0, 0.5)[0] < chances(LOOKS, 0.001, MARGIN)[0]


def test_a_measured_spread_has_a_range_and_a_stated_one_has_none():
    low, high = PairSpread(1.0, 4).range()
    assert (low, high) == pytest.approx((0.599, 2.874), abs=0.001)
    assert PairSpread(1.0).range() == (1.0, 1.0)
    pooled = PairSpread.pooled([PairSpread(1.0, 4), PairSpread(2.0, 4)])
    assert (pooled.value, pooled.freedom) == (pytest.approx(2.5**0.5), 8)
    assert PairSpread.pooled([]) is None


def outlooks(**given):
    wanted = {"margin": MARGIN, "truth": 0.0, "stated": None, "measured": {}, "resolution": 0.0}
    return question_outlooks(["a", "b"], LOOKS, **{**wanted, **given})


def test_a_question_without_a_spread_of_its_own_takes_that_of_the_others():
    a, b = outlooks(measured={"a": PairSpread(0.5, 4)})
    assert (a.is_own, b.is_own) == (True, False)
    assert b.spread.value == 0.5
    assert a.lowest < a.by_look[-1] < a.highest
    for each in outlooks(stated=0.5, measured={"a": PairSpread(9.0, 4)}):
        assert each.lowest == each.highest == each.by_look[-1] == said(0.5)


def test_a_true_difference_is_turned_as_the_intervals_are():
    time, rate = parse_metric("train_s"), parse_metric("throughput")
    assert turned_truth(TOP1, 0.3) == 0.3
    assert turned_truth(parse_metric("min:loss"), 0.3) == -0.3
    assert turned_truth(rate, 0.1) == -turned_truth(time, 0.1) == pytest.approx(np.log(1.1))
    assert margin_width(rate, 0.1) == turned_truth(rate, 0.1)
    with pytest.raises(UsageError, match="nothing would be left"):
        turned_truth(time, -1.0)
    # Of two arms the slower one is decided less often.
    slower = outlooks(stated=0.05, margin=0.02, truth=turned_truth(time, 0.02))[0]
    faster = outlooks(stated=0.05, margin=0.02, truth=turned_truth(time, -0.02))[0]
    assert slower.by_look[-1] < faster.by_look[-1]


def test_what_is_hopeless_is_called_so_with_the_pairs_it_needs():
    hopeless, fair = outlooks(stated=1.2)[0], outlooks(stated=0.4)[0]
    assert hopeless.is_hopeless
    assert not fair.is_hopeless
    assert fair.pairs_needed is None
    # Some (1.2 · (1.96 + 0.84) / 0.5)² fixed pairs.
    assert 40 < hopeless.pairs_needed < 52
    assert outlooks(stated=40.0)[0].pairs_needed is None
