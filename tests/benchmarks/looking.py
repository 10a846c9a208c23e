"""How often studies that look several times are wrong, and how many seeds they take.

    python tests/benchmarks/looking.py

prints the tables of docs/explanation/statistics.md: 2,000 simulated studies a cell, each one
question with a margin of 0.5. A study ends at the first look with a verdict, or after 20 pairs. Its
verdict is false if it says what the truth is not; a truth on the margin is not within it. In the
first table the number in brackets are studies that, had they taken all of their looks, would have
had an interval without the truth; of two spreads, 0.4 and 0.7, the worse counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emabench.analysis.looking.anytime import anytime_reach
from emabench.analysis.looking.looks import RISK, USUAL_LOOKS, plan_looks
from emabench.analysis.statistics import IntervalRule

STUDIES = 2000
MARGIN = 0.5
MOST = 20
RESOLUTION = 0.02
"""Of a test set of 5,000 images; all accuracies lie on this grid."""

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
NOISE: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "5 % outliers": lambda rng, shape: (
        rng.standard_normal(shape) * np.where(rng.random(shape) < 0.05, 5, 1) / np.sqrt(2.2)
    ),
    "skewed": lambda rng, shape: rng.exponential(1, shape) - 1,
}
"""Of mean 0 and standard deviation 1."""
FALSE = {
    -1: ("equivalent", "better", "not worse"),
    0: ("better", "worse"),
    1: ("equivalent", "worse"),
}
"""By the truth in margins: the verdicts that are false."""


def planned(power: float = 2) -> dict[int, float]:
    """Return, by the pairs of each planned look, how many standard errors its interval reaches."""
    looks = plan_looks(USUAL_LOOKS, power)
    rule = IntervalRule("looks", looks)
    return {n: rule.reach(n) for n in looks.pairs}


def rules() -> dict[str, dict[int, float]]:
    """Return the ways to look: pairs of each look, and how far its interval reaches."""
    fixed = IntervalRule().reach
    return {
        "planned": planned(),
        "planned, spending n/20": planned(1),
        "anytime, every seed": {
            n: anytime_reach(n, RISK)
            for n in range(3, MOST + 1)
            if np.isfinite(anytime_reach(n, RISK))
        },
        "fixed rule, every seed from 3": {n: fixed(n) for n in range(3, MOST + 1)},
        "fixed rule, the planned looks": {n: fixed(n) for n in USUAL_LOOKS},
        "fixed n = 8": {8: fixed(8)},
        "fixed n = 20": {20: fixed(20)},
    }


class Outcome(NamedTuple):
    """Shares of missed truths, of false and of any verdicts, and how many pairs were taken."""

    missed: float
    false: float
    decided: float
    median: float
    mean: float


def simulate(
    rule: dict[int, float], draw: Draw, truth: int, *, spread: float, seed: int = 0
) -> Outcome:
    """Simulate studies; one without a verdict took all of the rule's pairs."""
    rng = np.random.default_rng(seed)
    exact = truth * MARGIN + spread * draw(rng, (STUDIES, MOST))
    differences = np.round(exact / RESOLUTION) * RESOLUTION
    verdicts = np.full(STUDIES, "inconclusive", dtype="<U12")
    pairs = np.full(STUDIES, max(rule))
    missed = np.zeros(STUDIES, bool)
    for n, reach in rule.items():
        some = differences[:, :n]
        spreads = np.maximum(some.std(axis=1, ddof=1), RESOLUTION)
        half = reach * spreads / np.sqrt(n)
        low, high = some.mean(axis=1) - half, some.mean(axis=1) + half
        is_open = verdicts == "inconclusive"
        said = np.select(
            [(low >= -MARGIN) & (high <= MARGIN), low > 0, high < 0, low > -MARGIN],
            ["equivalent", "better", "worse", "not worse"],
            "inconclusive",
        )
        missed |= (truth * MARGIN < low) | (truth * MARGIN > high)
        pairs = np.where(is_open & (said != "inconclusive"), n, pairs)
        verdicts = np.where(is_open, said, verdicts)
    false = np.isin(verdicts, FALSE[truth]).mean()
    decided = (verdicts != "inconclusive").mean()
    figures = (missed.mean(), false, decided, np.median(pairs), pairs.mean())
    return Outcome(*map(float, figures))


def main() -> int:
    """Print the tables; 1 if the planned looks or the intervals for any time miss too often."""
    failures = 0
    print(f"| looks | {' | '.join(NOISE)} |")
    print(f"|---|{'---:|' * len(NOISE)}")
    for name, rule in rules().items():
        cells = []
        for noise, draw in NOISE.items():
            found = [
                [simulate(rule, draw, truth, spread=spread) for spread in (0.4, 0.7)]
                for truth in (-1, 0, 1)
            ]
            false = [max(each.false for each in of_truth) for of_truth in found]
            missed = max(each.missed for of_truth in found for each in of_truth)
            shown = " / ".join(f"{100 * share:.1f}" for share in false)
            cells.append(f"{shown} ({100 * missed:.1f})")
            is_bound = name in ("planned", "anytime, every seed") and noise != "skewed"
            failures += is_bound and max(false) > RISK
        print(f"| {name} | {' | '.join(cells)} |")
    print()
    columns = [(truth, spread) for truth in (0, 1) for spread in (0.4, 0.7, 1.0)]
    heads = [f"{'no difference' if not t else '+margin'}, spread {s}" for t, s in columns]
    print(f"| looks | {' | '.join(heads)} |")
    print(f"|---|{'---:|' * len(heads)}")
    for name, rule in rules().items():
        cells = []
        for truth, spread in columns:
            found_one = simulate(rule, NOISE["normal"], truth, spread=spread)
            cells.append(
                f"{found_one.median:.0f}, {found_one.mean:.1f}, {100 * found_one.decided:.0f} %"
            )
        print(f"| {name} | {' | '.join(cells)} |")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
