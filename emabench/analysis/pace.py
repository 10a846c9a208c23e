"""How fast an experiment will train on a machine, judged by what the store has measured there."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.records import JobKind, JobState, RunRecord
from emabench.spec.fingerprint import fingerprint
from emabench.spec.paths import value_at

_ALIKE = (
    "pretrain.method",
    "pretrain.backbone",
    "pretrain.data.image_size",
    "pretrain.augmentation",
    "pretrain.batch_size",
    "pretrain.views",
)
"""Fields that decide how long a step takes, beside the EMA scope and the machine."""


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
    alike = _likeness(spec)
    speeds: dict[str, list[float]] = {}
    for run in earlier:
        if run.state is not JobState.DONE or _likeness(run.spec) != alike:
            continue
        if run.environment is None or run.environment.device != device:
            continue
        if any(run.identity.get(name) != identity.get(name) for name in ("precision", "threads")):
            continue
        for scope, speed in _speeds(run):
            speeds.setdefault(scope, []).append(speed)
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


def _speeds(run: RunRecord) -> Iterable[tuple[str, float]]:
    if run.kind is JobKind.BENCH:
        for index, arm in enumerate(run.spec["bench"]["arms"]):
            speed = run.results.get(f"images_per_second:{index}")
            if speed is not None:
                yield arm["scope"], speed
    elif run.cost.throughput is not None:
        yield value_at(run.spec, "pretrain.ema.scope"), run.cost.throughput


def _likeness(spec: Mapping[str, Any]) -> str:
    return fingerprint({path: value_at(spec, path) for path in _ALIKE})
