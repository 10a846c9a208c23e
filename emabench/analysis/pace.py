"""How fast planned runs will be, judged by earlier ones like them: their pace, and their time."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.records import JobKind, JobState, PlannedRun, RunRecord
from emabench.spec.fingerprint import fingerprint
from emabench.spec.paths import value_at
from emabench.spec.revisions import EVALUATION

_ALIKE_IN_STEPS = (
    "pretrain.method",
    "pretrain.backbone",
    "pretrain.data.image_size",
    "pretrain.augmentation",
    "pretrain.batch_size",
    "pretrain.views",
    "pretrain.optimizer.name",
    "pretrain.optimizer.clip_grad_norm",
    "pretrain.compile",
    "pretrain.devices",
)
"""Fields that decide how long a step takes, beside the EMA scope and the machine."""
_MACHINE = ("precision", "threads")

_ALIKE_IN_EPOCHS = (
    "pretrain.method.name",
    "pretrain.backbone",
    "pretrain.data",
    "pretrain.augmentation",
    "pretrain.ema.scope",
    "pretrain.batch_size",
    "pretrain.views",
    "pretrain.max_steps",
    "evaluation",
)
"""Fields that decide how long an epoch takes, roughly; seed, epochs and learning rate do not."""


@dataclass(frozen=True)
class Pace:
    """Images per second of an EMA scope.

    Attributes:
        images_per_second: the median.
        measured: runs and benches that it was measured by; 0: it follows from that of another
            scope and the floating-point operations of both.
    """

    images_per_second: float
    measured: int


@dataclass(frozen=True)
class TimeEstimate:
    """The time that planned runs need, one after the other.

    Attributes:
        seconds: sum over the runs that have a like; None if none has.
        estimated: how many of the runs that is.
        runs: all runs that are not done yet.
        sources: earlier runs that it is judged by.
    """

    seconds: float | None
    estimated: int
    runs: int
    sources: int


def paces(
    earlier: Sequence[RunRecord],
    spec: Mapping[str, Any],
    *,
    device: str,
    identity: Mapping[str, Any],
    flops: Mapping[str, int | None],
) -> dict[str, Pace]:
    """Return the pace of every scope that can be judged.

    Args:
        earlier: runs and benches of the store.
        spec: a resolved experiment; its EMA does not count.
        device: name of the hardware.
        identity: of the experiment: precision and threads count.
        flops: operations of a step by canonical scope.
    """
    alike = step_likeness(spec, identity, device)
    speeds: dict[str, list[float]] = defaultdict(list)
    for run in earlier:
        if run.state is not JobState.DONE or run.environment is None:
            continue
        if step_likeness(run.spec, run.identity, run.environment.device) != alike:
            continue
        for scope, speed in _speeds(run):
            speeds[scope].append(speed)
    found = {
        scope: Pace(statistics.median(values), len(values)) for scope, values in speeds.items()
    }
    known = {scope: pace for scope, pace in found.items() if flops.get(scope)}
    for scope, operations in flops.items():
        if scope in found or not operations or not known:
            continue
        nearest = min(known, key=lambda other: abs((flops[other] or 0) - operations))
        scaled = known[nearest].images_per_second * (flops[nearest] or 0) / operations
        found[scope] = Pace(scaled, 0)
    return found


def estimate_time(plans: Sequence[PlannedRun], earlier: Sequence[RunRecord]) -> TimeEstimate:
    """Estimate the time of planned runs that are not done yet, or whose evaluation is not.

    Args:
        plans: what is to be run.
        earlier: the runs of the store.
    """
    done = [run for run in earlier if run.state is JobState.DONE]
    finished = {run.fingerprint for run in done}
    known: dict[str, list[float]] = defaultdict(list)
    evaluated: dict[str, list[float]] = defaultdict(list)
    for run in done:
        likeness = _likeness(run.spec, _ALIKE_IN_EPOCHS, run.identity)
        if run.cost.total_s is not None:
            known[likeness].append(run.cost.total_s / _epochs(run.spec))
        if run.cost.eval_s is not None:
            evaluated[likeness].append(run.cost.eval_s)
    open_plans = [plan for plan in plans if plan.fingerprint not in finished]
    seconds, sources, estimated = 0.0, set(), 0
    for plan in open_plans:
        likeness = _likeness(plan.spec, _ALIKE_IN_EPOCHS, plan.identity)
        is_trained = not finished.isdisjoint(plan.earlier_fingerprints)
        found, times = (evaluated, 1) if is_trained else (known, _epochs(plan.spec))
        if likeness in found:
            seconds += statistics.median(found[likeness]) * times
            estimated += 1
            sources.add(likeness)
    return TimeEstimate(
        seconds=seconds if estimated else None,
        estimated=estimated,
        runs=len(open_plans),
        sources=sum(len(known[likeness]) for likeness in sources),
    )


def step_likeness(spec: Mapping[str, Any], identity: Mapping[str, Any], device: str) -> str:
    """Return a text that is equal for experiments whose steps cost the same but for their EMA.

    Args:
        spec: as resolved.
        identity: of the experiment: precision and threads count.
        device: name of the hardware.
    """
    machine = {"device": device, **{name: identity.get(name) for name in _MACHINE}}
    return _likeness(spec, _ALIKE_IN_STEPS, machine)


def _likeness(
    spec: Mapping[str, Any], paths: Iterable[str], identity: Mapping[str, Any] | None = None
) -> str:
    """Return a text that is equal for specs that agree on some fields, and on the identity.

    How a mended evaluation judges has no influence on how long it takes.
    """
    fields = {path: value_at(spec, path) for path in paths}
    counts = {name: value for name, value in (identity or {}).items() if name != EVALUATION}
    return fingerprint({"fields": fields, "identity": counts})


def _speeds(run: RunRecord) -> Iterable[tuple[str, float]]:
    if run.kind is JobKind.BENCH:
        for index, arm in enumerate(run.spec["bench"]["arms"]):
            speed = run.results.get(f"images_per_second:{index}")
            if speed is not None:
                yield arm["scope"], speed
    elif run.cost.throughput is not None:
        yield value_at(run.spec, "pretrain.ema.scope"), run.cost.throughput


def _epochs(spec: Mapping[str, Any]) -> int:
    """Count the evaluation alone as one epoch."""
    return max(1, int(value_at(spec, "pretrain.epochs") or 0))
