"""How the gradient of every block fluctuates over training, arm by arm."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.analysis.arms import Arm
from emabench.analysis.metric_values import told_points
from emabench.analysis.selection import Arms
from emabench.errors import NotFoundError, UnknownNameError
from emabench.records import MetricPoint
from emabench.table import UNKNOWN, Table, counted

QUANTITIES = tuple(
    f"grad_{what}{figure}"
    for what in ("norm", "sample_norm", "cosine")
    for figure in ("", "_sd", "_cv")
)
"""What the gradient monitor stores for every block and epoch."""

FLUCTUATION = "grad_norm_cv"
"""Coefficient of variation of the gradient's norm within an epoch."""


@dataclass(frozen=True)
class Spread:
    """A value over the seeds of an arm: mean, standard deviation (None for one seed), and n."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise one value per seed."""
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, len(values))


@dataclass(frozen=True)
class BlockCourse:
    """One block of one arm.

    Attributes:
        block: its name.
        overall: over seeds, of each seed's mean over epochs.
        seeds: by seed, its mean over epochs.
        epochs: by epoch, over seeds.
    """

    block: str
    overall: Spread
    seeds: Mapping[int, float]
    epochs: Mapping[int, Spread]


@dataclass(frozen=True)
class ArmStability:
    """One arm: runs that differ only in their seed.

    Attributes:
        label: what tells it from the other arms.
        method: name of the method.
        scope: canonical EMA scope.
        runs: ids of the runs by seed.
        blocks: first to last.
    """

    label: str
    method: str
    scope: str
    runs: Mapping[int, str]
    blocks: tuple[BlockCourse, ...]


@dataclass(frozen=True)
class Stability:
    """A quantity of the gradient monitor for some arms, and notes on what was left out."""

    quantity: str
    arms: tuple[ArmStability, ...]
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[str]:
        """Names of all blocks of all arms, first to last."""
        names = {course.block for arm in self.arms for course in arm.blocks}
        return sorted(names, key=block_rank)

    def to_data(self) -> Table:
        """Return one line per arm and block, for programs: mean and sd over seeds, in full."""
        rows = [
            (arm.label, course.block, course.overall.mean, course.overall.sd, course.overall.n)
            for arm in self.arms
            for course in arm.blocks
        ]
        return Table(("arm", "block", "mean", "sd", "n"), tuple(rows))

    def to_table(self) -> Table:
        """Return one line per block and one column per arm: mean ± sd over seeds."""
        cells = {(arm.label, course.block): course for arm in self.arms for course in arm.blocks}
        headers = [f"{arm.label} (n={len(arm.runs)})" for arm in self.arms]
        rows = [
            (block, *(_in_words(cells.get((arm.label, block))) for arm in self.arms))
            for block in self.blocks
        ]
        return Table(("block", *headers), tuple(rows), right=frozenset(headers))

    def to_run_table(self, *, exact: bool = False) -> Table:
        """Return one line per run and one column per block: its mean over epochs.

        Args:
            exact: for programs: in full precision.
        """
        rows = []
        for arm in self.arms:
            seeds = {course.block: course.seeds for course in arm.blocks}
            for seed, run in arm.runs.items():
                values = [seeds.get(block, {}).get(seed) for block in self.blocks]
                cells = [UNKNOWN if value is None else f"{value:.3g}" for value in values]
                rows.append((arm.label, seed, run, *(values if exact else cells)))
        headers = ("arm", "seed", "id", *self.blocks)
        return Table(headers, tuple(rows), right=frozenset(headers) - {"arm", "id"})

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "schema_version": 1,
            "quantity": self.quantity,
            "arms": [_arm_json(arm) for arm in self.arms],
            "notes": list(self.notes),
        }


def stability(
    arms: Arms,
    metrics_of: Callable[[str], Sequence[MetricPoint]],
    quantity: str = FLUCTUATION,
) -> Stability:
    """Gather a quantity of the gradient monitor.

    Args:
        arms: whose; of their runs those count that hold it.
        metrics_of: gives the metrics of a run by its id.
        quantity: one of ``QUANTITIES``.

    Raises:
        UnknownNameError: there is no such quantity.
        NotFoundError: no run holds it.
    """
    if quantity not in QUANTITIES:
        raise UnknownNameError("quantity", quantity, QUANTITIES)
    found = {run.id: _by_block(told_points(run, metrics_of(run.id)), quantity) for run in arms.runs}
    lacking = sum(not blocks for blocks in found.values())
    if not arms.runs and arms.notes:
        raise NotFoundError(
            f"no run has {quantity}: {'; '.join(arms.notes)}",
            hint="emabench list shows the runs and their states",
        )
    if lacking == len(found):
        raise NotFoundError(
            f"no run has {quantity}",
            hint="runs measure it every monitors.gradient_every steps; two or more pairs an "
            "epoch give a spread, four samples a coefficient of variation",
        )
    gathered = (_arm(arm, found) for arm in arms.arms)
    notes = [
        *arms.notes,
        *([f"{counted(lacking, 'run')} without {quantity} left out"] if lacking else []),
    ]
    return Stability(quantity, tuple(arm for arm in gathered if arm.runs), tuple(notes))


def block_rank(block: str) -> tuple[int, int, str]:
    """Return a key that sorts blocks first to last: the stem, numbered ones, the projector."""
    number = re.search(r"\d+$", block)
    place = {"stem": 0, "projector": 2}.get(block, 1)
    return place, int(number[0]) if number else 0, block


def _by_block(points: Sequence[MetricPoint], quantity: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for point in points:
        name, _, block = point.name.partition(":")
        if name == quantity and block and math.isfinite(point.value):  # NaN is unknown
            found[block][point.epoch] = point.value
    return dict(found)


def _arm(arm: Arm, found: Mapping[str, dict[str, dict[int, float]]]) -> ArmStability:
    runs = {seed: run.id for seed, run in arm.runs.items() if found[run.id]}
    blocks_of = {seed: found[run] for seed, run in runs.items()}
    names = sorted({block for blocks in blocks_of.values() for block in blocks}, key=block_rank)
    courses = []
    for name in names:
        curves = {seed: blocks[name] for seed, blocks in blocks_of.items() if name in blocks}
        epochs = sorted({epoch for curve in curves.values() for epoch in curve})
        by_epoch = {
            epoch: Spread.of([curve[epoch] for curve in curves.values() if epoch in curve])
            for epoch in epochs
        }
        seeds = {seed: statistics.fmean(curve.values()) for seed, curve in curves.items()}
        courses.append(BlockCourse(name, Spread.of(list(seeds.values())), seeds, by_epoch))
    return ArmStability(arm.label, arm.method, arm.scope, runs, tuple(courses))


def _in_words(course: BlockCourse | None) -> str:
    if course is None:
        return UNKNOWN
    spread = course.overall
    return f"{spread.mean:.3g}" + ("" if spread.sd is None else f" ± {spread.sd:.2g}")


def _arm_json(arm: ArmStability) -> dict[str, Any]:
    def values(spread: Spread) -> dict[str, Any]:
        return {"mean": spread.mean, "sd": spread.sd, "n": spread.n}

    return {
        "label": arm.label,
        "method": arm.method,
        "ema_scope": arm.scope,
        "runs": [{"seed": seed, "id": run} for seed, run in arm.runs.items()],
        "blocks": [
            {
                "block": course.block,
                **values(course.overall),
                "seeds": [{"seed": seed, "value": value} for seed, value in course.seeds.items()],
                "epochs": [{"epoch": epoch, **values(s)} for epoch, s in course.epochs.items()],
            }
            for course in arm.blocks
        ],
    }
