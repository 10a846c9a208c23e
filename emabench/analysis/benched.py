"""What a step costs by the benches of a store: of the arm of a run, and against another arm."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

from emabench.analysis.pace import step_likeness
from emabench.analysis.statistics import Paired, paired_ratio
from emabench.records import BENCH_STEPS, MetricPoint, RunRecord
from emabench.spec.fingerprint import fingerprint
from emabench.spec.paths import value_at

_COSTS_NOTHING = ("decay", "final_decay", "schedule", "decay_batch")
"""How much the average keeps does not decide how long it takes."""


def step_times(bench: RunRecord, points: Sequence[MetricPoint]) -> list[list[float]]:
    """Return the milliseconds of every step, arm by arm; only of rounds in which all have one.

    Args:
        bench: a finished bench.
        points: its metrics.
    """
    names = [f"{BENCH_STEPS}{index}" for index in range(len(_arms(bench)))]
    rounds: dict[int, dict[str, float]] = defaultdict(dict)
    for point in points:
        if 0 < point.value < math.inf:  # NaN is unknown
            rounds[point.step][point.name] = point.value
    whole = [each for _, each in sorted(rounds.items()) if all(name in each for name in names)]
    return [[each[name] for each in whole] for name in names]


@dataclass(frozen=True)
class _Bench:
    """What it was like, and by EMA the milliseconds of every step."""

    likeness: str
    arms: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Benches:
    """Finished benches, and which of them tells of a run: one whose steps are like its own.

    Of several it is the one with the most arms, so that the means of arms are to each other as
    their ratio says, and of those the newest. Alike are steps of one method, network, optimiser,
    augmentation, batch and image size, on one kind of device with one precision and as many
    threads. Seed, epochs, images, learning rate and decay do not count.
    """

    in_order: tuple[_Bench, ...]

    @classmethod
    def of(
        cls, benches: Iterable[RunRecord], points: Mapping[str, Sequence[MetricPoint]]
    ) -> Benches:
        """Look at benches.

        Args:
            benches: finished ones, the newest last; those that are unreadable tell nothing.
            points: by id of a bench, the milliseconds of its steps.
        """
        found = []
        for bench in benches:
            likeness = None if bench.unreadable else _likeness(bench)
            if likeness is not None:
                times = step_times(bench, points.get(bench.id, ()))
                arms = zip(_arms(bench), times, strict=True)
                found.append(_Bench(likeness, {_ema(ema): steps for ema, steps in arms if steps}))
        return cls(tuple(sorted(found, key=lambda bench: len(bench.arms))[::-1]))

    def step_ms(self, run: RunRecord) -> float | None:
        """Return the milliseconds of a step like that of a run, the mean of their logarithms."""
        likeness, arm = _step(run)
        for bench in self.in_order:
            if bench.likeness == likeness and arm in bench.arms:
                return geometric_mean(bench.arms[arm])
        return None

    def ratio(self, runs: Iterable[RunRecord], others: Iterable[RunRecord]) -> Paired | None:
        """Compare the steps of two arms that took turns.

        Args:
            runs: of the arm, perhaps on several devices.
            others: of the arm that it is compared with.

        Returns:
            The ratio of the first bench that has both on one device; None where none has, as for
            arms that differ in something else than their EMA.
        """
        steps, references = dict.fromkeys(map(_step, runs)), dict.fromkeys(map(_step, others))
        for bench in self.in_order:
            for (likeness, arm), (other, reference) in itertools.product(steps, references):
                alike = bench.likeness == likeness == other
                if alike and arm != reference and {arm, reference} <= set(bench.arms):
                    return _over_steps(paired_ratio(bench.arms[arm], bench.arms[reference]))
        return None


def _over_steps(paired: Paired | None) -> Paired | None:
    """Return a comparison without what is said of seeds."""
    if paired is None:
        return None
    return replace(paired, p=None, p_smallest=None, differences=(), over="steps")


def _step(run: RunRecord) -> tuple[str | None, str]:
    """Return what decides how long a step of a run takes: what it is like, and its EMA."""
    return _likeness(run), _ema(value_at(run.spec, "pretrain.ema") or {})


def _likeness(run: RunRecord) -> str | None:
    if run.environment is None:
        return None
    return step_likeness(run.spec, run.identity, run.environment.device)


def _arms(bench: RunRecord) -> Sequence[Mapping[str, object]]:
    return value_at(bench.spec, "bench.arms") or ()


def _ema(values: Mapping[str, object]) -> str:
    """Return what tells EMAs apart that cost something else."""
    return fingerprint({n: value for n, value in values.items() if n not in _COSTS_NOTHING})
