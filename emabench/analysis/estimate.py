"""How long planned runs will take, judged by earlier runs of the store that are like them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.records import JobState, PlannedRun, RunRecord
from emabench.spec.fingerprint import fingerprint
from emabench.spec.paths import value_at

_ALIKE = (
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
class Estimate:
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


def estimate(plans: Sequence[PlannedRun], earlier: Sequence[RunRecord]) -> Estimate:
    """Estimate the time of planned runs that are not done yet.

    Args:
        plans: what is to be run.
        earlier: the runs of the store.
    """
    done = [run for run in earlier if run.state is JobState.DONE]
    finished = {run.fingerprint for run in done}
    paces: dict[str, list[float]] = {}
    for run in done:
        pace = _seconds_per_epoch(run)
        if pace is not None:
            paces.setdefault(_likeness(run.spec, run.identity), []).append(pace)
    open_plans = [plan for plan in plans if plan.fingerprint not in finished]
    seconds, sources, estimated = 0.0, set(), 0
    for plan in open_plans:
        likeness = _likeness(plan.spec, plan.identity)
        if likeness in paces:
            seconds += statistics.median(paces[likeness]) * _epochs(plan.spec)
            estimated += 1
            sources.add(likeness)
    return Estimate(
        seconds=seconds if estimated else None,
        estimated=estimated,
        runs=len(open_plans),
        sources=sum(len(paces[likeness]) for likeness in sources),
    )


def _likeness(spec: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    fields = {path: value_at(spec, path) for path in _ALIKE}
    return fingerprint({"fields": fields, "identity": dict(identity)})


def _seconds_per_epoch(run: RunRecord) -> float | None:
    return None if run.cost.total_s is None else run.cost.total_s / _epochs(run.spec)


def _epochs(spec: Mapping[str, Any]) -> int:
    """Count the evaluation alone as one epoch."""
    return max(1, int(value_at(spec, "pretrain.epochs")))
