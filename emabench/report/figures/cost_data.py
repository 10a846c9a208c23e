"""Where the time goes: the phases of a step, or of a whole run, arm by arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError
from emabench.records import CostReading

Whole = Literal["step", "run"]

STEP_PHASES = (
    "augment_ms",
    "online_forward_ms",
    "target_forward_ms",
    "loss_ms",
    "backward_ms",
    "optimizer_ms",
    "ema_update_ms",
)
"""Readings of the sampled profile of a step, in the order of the step."""

RUN_PHASES = (
    "init_s",
    "data_prep_s",
    "warmup_s",
    "train_s",
    "probe_s",
    "monitor_s",
    "eval_s",
    "checkpoint_s",
)
"""Phases of a run that do not overlap, in their usual order."""

_PHASES: dict[Whole, tuple[str, ...]] = {"step": STEP_PHASES, "run": RUN_PHASES}
_TOTALS: dict[Whole, str] = {"step": "step_ms", "run": "total_s"}
_UNITS: dict[Whole, str] = {"step": "ms", "run": "s"}


@dataclass(frozen=True)
class CostBar:
    """One arm.

    Attributes:
        label: names the arm.
        n: number of its seeds.
        parts: the mean of each phase that a seed knows, over those seeds.
        total: the whole as it was measured by itself; None is unknown.
    """

    label: str
    n: int
    parts: Mapping[str, float]
    total: MeanInterval | None

    @property
    def rest(self) -> float:
        """The part of the total that no phase accounts for; 0 where the phases are as much."""
        return 0.0 if self.total is None else max(0.0, self.total.mean - sum(self.parts.values()))


@dataclass(frozen=True)
class CostBreakdown:
    """The time of a step in milliseconds, or of a run in seconds, by phase."""

    of: Whole
    bars: tuple[CostBar, ...]
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Of all numbers."""
        return _UNITS[self.of]

    @property
    def total_name(self) -> str:
        """The reading that measures the whole."""
        return _TOTALS[self.of]

    @property
    def phases(self) -> list[str]:
        """The phases that an arm knows, in their order."""
        return [name for name in _PHASES[self.of] if any(name in bar.parts for bar in self.bars)]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "of": self.of,
            "unit": self.unit,
            "total": self.total_name,
            "phases": self.phases,
            "bars": [{**asdict(bar), "rest": bar.rest} for bar in self.bars],
            "notes": list(self.notes),
        }


def cost_breakdown(chosen: Arms, of: Whole = "step") -> CostBreakdown:
    """Break the time of each arm down; what no run knows is left out, never 0.

    Raises:
        NotFoundError: no run knows any of it.
    """
    bars, missing, unbroken = [], [], []
    for shown in chosen.arms:
        costs = [run.cost for run in shown.runs.values()]
        means = {name: _mean(costs, name) for name in _PHASES[of]}
        parts = {name: mean for name, mean in means.items() if mean is not None}
        total = MeanInterval.of(reading(cost, _TOTALS[of]) for cost in costs)
        if total is None and not parts:
            missing.append(shown.label)
            continue
        if not parts:
            unbroken.append(shown.label)
        bars.append(CostBar(shown.label, len(costs), parts, total))
    if not bars:
        raise NotFoundError(
            f"no run holds {_TOTALS[of]} or a phase of it",
            hint="a run of a few steps measures none; --of run draws the phases of whole runs",
        )
    notes = list(chosen.notes)
    if missing:
        notes.append(f"nothing measured, left out: {', '.join(missing)}")
    if len(unbroken) == len(bars):
        notes.append(f"no run holds the phases of a {of}: only {_TOTALS[of]} is shown")
    elif unbroken:
        notes.append(f"phases not measured, only {_TOTALS[of]} is shown: {', '.join(unbroken)}")
    return CostBreakdown(of, tuple(bars), tuple(notes))


def reading(cost: CostReading, name: str) -> float | None:
    """Return a reading by its name; None where it is unknown, or no reading of this version."""
    value = cost.as_dict().get(name)
    return None if value is None else float(value)


def _mean(costs: list[CostReading], name: str) -> float | None:
    estimate = MeanInterval.of(reading(cost, name) for cost in costs)
    return None if estimate is None else estimate.mean
