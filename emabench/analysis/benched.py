"""What a step costs by the benches of a store: of the arm of a run, and against another arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

from emabench.analysis.pace import step_likeness
from emabench.analysis.statistics import Paired, paired_ratio
from emabench.records import MetricPoint, RunRecord
from emabench.spec.fingerprint import fingerprint

STEPS = "step_ms:"
"""Begins the name of the metric that holds the milliseconds of every step of an arm, before its
number."""
_COSTS_NOTHING = ("decay", "final_decay", "schedule", "decay_batch")
"""How much the average keeps does not decide how long it takes."""


def step_times(bench: RunRecord, points: Sequence[MetricPoint]) -> list[list[float]]:
    """Return the milliseconds of every step, arm by arm.

    Args:
        bench: a finished bench.
        points: its metrics.
    """
    return [
        [point.value for point in points if point.name == f"{STEPS}{index}"]
        for index in range(len(bench.spec["bench"]["arms"]))
    ]


@dataclass(frozen=True)
class _Bench:
    """What it was like, and by EMA the milliseconds of every step."""

    likeness: str
    arms: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Benches:
    """Finished benches, and which of them tells of a run: the newest whose steps are like its own.

    Alike are steps of one method, network, optimiser, augmentation, batch and image size, on one
    kind of device with one precision and as many threads. Seed, epochs, images, learning rate and
    decay do not count.
    """

    newest_first: tuple[_Bench, ...]

    @classmethod
    def of(
        cls, benches: Iterable[RunRecord], points: Mapping[str, Sequence[MetricPoint]]
    ) -> Benches:
        """Look at benches.

        Args:
            benches: finished ones, the newest last.
            points: by id of a bench, the milliseconds of its steps.
        """
        found = []
        for bench in benches:
            likeness = _likeness(bench)
            if likeness is not None:
                times = step_times(bench, points.get(bench.id, ()))
                arms = zip(bench.spec["bench"]["arms"], times, strict=True)
                found.append(_Bench(likeness, {_ema(ema): steps for ema, steps in arms if steps}))
        return cls(tuple(reversed(found)))

    def step_ms(self, run: RunRecord) -> float | None:
        """Return the milliseconds of a step like that of a run, the mean of their logarithms."""
        arm = _arm(run)
        steps = next((b.arms[arm] for b in self._like(run) if arm in b.arms), None)
        return None if steps is None else geometric_mean(steps)

    def ratio(self, run: RunRecord, other: RunRecord) -> Paired | None:
        """Compare steps like those of two runs that took turns; None where no bench has both."""
        arm, reference = _arm(run), _arm(other)
        if _likeness(run) != _likeness(other):
            return None
        for bench in self._like(run):
            if arm in bench.arms and reference in bench.arms:
                return _over_steps(paired_ratio(bench.arms[arm], bench.arms[reference]))
        return None

    def _like(self, run: RunRecord) -> Iterable[_Bench]:
        likeness = _likeness(run)
        return (bench for bench in self.newest_first if bench.likeness == likeness)


def _over_steps(paired: Paired | None) -> Paired | None:
    """Return a comparison without what is said of seeds."""
    if paired is None:
        return None
    return replace(paired, p=None, p_smallest=None, differences=(), over="steps")


def _likeness(run: RunRecord) -> str | None:
    if run.environment is None:
        return None
    return step_likeness(run.spec, run.identity, run.environment.device)


def _arm(run: RunRecord) -> str:
    return _ema(run.spec["pretrain"]["ema"])


def _ema(values: Mapping[str, object]) -> str:
    """Return what tells EMAs apart that cost something else; without an average, the rest of it."""
    return fingerprint({n: value for n, value in values.items() if n not in _COSTS_NOTHING})
