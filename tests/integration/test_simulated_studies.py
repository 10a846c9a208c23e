"""Simulated studies of known truth: how often intervals hold it, and how often verdicts are false.

Prints the figures of ``docs/explanation/comparison.md``:
``pytest -n 0 -s -m slow tests/integration/test_simulated_studies.py``.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from seeding import complete, plan, recorded

from emabench.analysis.comparison import compare
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.statistics import image_error
from emabench.analysis.verdicts import Verdict
from emabench.store import RunStore

STUDIES = 1000
MARGIN = 0.5
SPREAD = 0.5
"""Standard deviation of the paired difference in points."""
SEEDS_DIFFER = 1.0
"""Standard deviation of what a seed does to both arms."""
RATIO = 1.4
METRICS = parse_metrics("top1,throughput")
FALSE = {
    -MARGIN: {Verdict.EQUIVALENT, Verdict.BETTER, Verdict.NOT_WORSE},
    0.0: {Verdict.BETTER, Verdict.WORSE},
    MARGIN: {Verdict.EQUIVALENT, Verdict.WORSE},
}
"""What must not be said at a true difference."""


class Studies:
    """Draws studies of two arms, ``projector`` against ``full``, without a store."""

    def __init__(self, random, *, spread="normal"):
        self.random, self.spread = random, spread
        self.plans = {}

    def planned(self, scope, seed):
        if (scope, seed) not in self.plans:
            self.plans[scope, seed] = plan(ema_scope=scope, seed=seed)
        return self.plans[scope, seed]

    def noise(self, n):
        if self.spread == "normal":
            return self.random.normal(0, SPREAD, n)
        return SPREAD * (self.random.exponential(1, n) - 1)

    def draw(self, n, truth, ratio=RATIO, first=0):
        shared = self.random.normal(60, SEEDS_DIFFER, n)
        top1 = shared + truth + self.noise(n)
        speed = 1000 * np.exp(self.random.normal(0, 0.05, n))
        faster = speed * ratio * np.exp(self.random.normal(0, 0.03, n))
        runs = []
        for place in range(n):
            seed = first + place
            full, projector = self.planned("full", seed), self.planned("projector", seed)
            runs.append(recorded(full, top1=shared[place], throughput=speed[place]))
            runs.append(recorded(projector, top1=top1[place], throughput=faster[place]))
        return runs


def compared(runs, **settings):
    found = compare(runs, METRICS, margins={"top1": MARGIN}, **settings)
    return next(row for row in found.rows if row.ema_scope == "projector")


def say(text):
    sys.stdout.write(f"{text}\n")


def share(hits):
    return 100 * float(np.mean(hits))


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_hold_the_truth_and_verdicts_are_seldom_false(n):
    for truth, false in FALSE.items():
        studies = Studies(np.random.default_rng(n))  # the same noise around every truth
        rows = [compared(studies.draw(n, truth)) for _ in range(STUDIES)]
        top1 = [row.metrics["top1"].baseline for row in rows]
        speed = [row.metrics["throughput"].baseline for row in rows]
        holds = share([paired.low <= truth <= paired.high for paired in top1])
        holds_ratio = share([paired.low <= RATIO <= paired.high for paired in speed])
        verdicts = Counter(row.metrics["top1"].verdict for row in rows)
        shares = {str(v): round(100 * verdicts[v] / STUDIES, 1) for v in Verdict}
        answers = Counter(row.headline.answer for row in rows)
        say(
            f"n={n} truth={truth:+.1f}: difference held {holds:.1f} %, "
            f"ratio {holds_ratio:.1f} %; verdicts in % {shares}; headline {dict(answers)}"
        )
        assert 93 <= holds <= 97
        assert 93 <= holds_ratio <= 97
        for verdict in false:
            assert verdicts[verdict] <= 0.05 * STUDIES, verdict
        if truth < 0:
            assert answers["yes"] <= 0.05 * STUDIES


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_an_arm_that_costs_the_same_is_seldom_called_cheaper(n):
    studies = Studies(np.random.default_rng(100 + n))
    rows = [compared(studies.draw(n, 0.0, ratio=1.0)) for _ in range(STUDIES)]
    answers = Counter(row.headline.answer for row in rows)
    verdicts = Counter(str(row.metrics["throughput"].verdict) for row in rows)
    say(f"n={n} same cost, same accuracy: headline {dict(answers)}, cost {dict(verdicts)}")
    assert answers["yes"] <= 0.05 * STUDIES
    assert max(verdicts[Verdict.BETTER], verdicts[Verdict.WORSE]) <= 0.05 * STUDIES


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_skewed_spread_and_the_bootstrap_hold_the_truth_less_often(n):
    skewed, normal = (Studies(np.random.default_rng(n), spread=s) for s in ("skewed", "normal"))
    of_skewed = [compared(skewed.draw(n, 0.0)).metrics["top1"].baseline for _ in range(STUDIES)]
    bootstrap = [
        compared(normal.draw(n, 0.0), interval="bca").metrics["top1"].baseline
        for _ in range(STUDIES)
    ]
    found = [share([p.low <= 0 <= p.high for p in paired]) for paired in (of_skewed, bootstrap)]
    say(f"n={n}: t with exponential noise held {found[0]:.1f} %, BCa with normal {found[1]:.1f} %")
    assert found[1] < 95


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_seeds_that_would_probably_settle_it_often_do(n):
    studies = Studies(np.random.default_rng(200 + n))
    settled, asked = [], []
    for _ in range(STUDIES):
        runs = studies.draw(n, 0.0)
        headline = compared(runs).headline
        if headline.answer != "undecided" or headline.more_seeds is None:
            continue
        asked.append(headline.more_seeds)
        if headline.more_seeds <= 50:
            more = studies.draw(headline.more_seeds, 0.0, first=n)
            settled.append(compared([*runs, *more]).headline.answer != "undecided")
    say(
        f"n={n}: {len(asked)} of {STUDIES} undecided with an advice, "
        f"median {np.median(asked):.0f} more seeds; settled after them "
        f"{share(settled):.0f} % of {len(settled)} (advice up to 50)"
    )
    assert share(settled) > 50


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_second_look_makes_false_answers_more_frequent(n):
    studies = Studies(np.random.default_rng(300 + n))
    first = second = 0
    for _ in range(STUDIES):
        runs = studies.draw(n, -MARGIN)
        found = compared(runs).headline
        first += found.answer == "yes"
        if found.answer == "undecided" and found.more_seeds is not None:
            runs += studies.draw(min(found.more_seeds, 50), -MARGIN, first=n)
            found = compared(runs).headline
        second += found.answer == "yes"
    say(
        f"n={n}, truth at -margin: false yes in {100 * first / STUDIES:.1f} % at first, "
        f"{100 * second / STUDIES:.1f} % after the advised seeds"
    )
    assert first <= 0.05 * STUDIES
    assert first <= second <= 0.1 * STUDIES


@pytest.mark.slow
def test_the_error_of_the_test_set_holds_the_difference_of_all_images():
    random = np.random.default_rng(7)
    everything, images, pairs = 200_000, 1000, 3
    hardness = random.random(everything)
    networks = [
        [random.random(everything) < np.clip(hardness + gain, 0, 1) for gain in (0.02, 0.0)]
        for _ in range(pairs)
    ]
    truth = 100 * float(np.mean([np.mean(arm) - np.mean(base) for arm, base in networks]))
    holds = []
    for _ in range(STUDIES):
        chosen = random.choice(everything, images, replace=False)
        packed = [
            tuple((np.packbits(right[chosen]).tobytes(), images) for right in pair)
            for pair in networks
        ]
        error = image_error(packed)
        holds.append(error.low <= truth <= error.high)
    say(f"test-set error, {images} images, {pairs} pairs: held {share(holds):.1f} %")
    assert 93 <= share(holds) <= 97


def test_a_store_gives_what_the_records_give(tmp_path):
    runs = Studies(np.random.default_rng(0)).draw(4, 0.2)
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        for run in runs:
            planned = replace(
                plan(), spec=run.spec, identity=run.identity, fingerprint=run.fingerprint
            )
            top1, speed = run.results["top1"], run.cost.throughput
            complete(store, planned, top1=top1, throughput=speed)
        stored = compared(store.runs())
    known = compared(runs)
    for name in ("top1", "throughput"):
        assert stored.metrics[name].baseline == known.metrics[name].baseline
        assert stored.metrics[name].verdict == known.metrics[name].verdict
    assert stored.headline == known.headline
