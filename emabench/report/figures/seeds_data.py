"""Every seed of every arm: how far the runs of an arm lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError
from emabench.report.figures.axis import shown_value


@dataclass(frozen=True)
class SeedArm:
    """One arm: the value of each seed that is known, and their mean."""

    label: str
    values: Mapping[int, float]
    estimate: MeanInterval


@dataclass(frozen=True)
class Seeds:
    """A metric of every run."""

    metric: MetricInfo
    arms: tuple[SeedArm, ...]
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """All seeds of all arms."""
        return sorted({seed for arm in self.arms for seed in arm.values})

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "metric": self.metric.name,
            "unit": self.metric.shown_unit,
            "arms": [
                {**asdict(arm), "values": {str(seed): v for seed, v in arm.values.items()}}
                for arm in self.arms
            ],
            "notes": list(self.notes),
        }


def seeds(chosen: Arms, metric: MetricInfo, measured: MetricValues | None = None) -> Seeds:
    """Gather a metric of every run, in the unit that is shown.

    Args:
        chosen: the arms.
        metric: which.
        measured: what the store holds beside the records of the runs.

    Raises:
        NotFoundError: no run has it.
    """
    read = (measured or MetricValues()).value
    arms, missing = [], []
    for shown in chosen.arms:
        known = {
            seed: shown_value(metric, value)
            for seed, run in shown.runs.items()
            if (value := read(metric, run)) is not None
        }
        estimate = MeanInterval.of(known.values())
        if estimate is None:
            missing.append(shown.label)
        else:
            arms.append(SeedArm(shown.label, known, estimate))
    if not arms:
        raise NotFoundError(
            f"no run holds {metric.name}", hint="emabench show lists what a run holds"
        )
    notes = list(chosen.notes)
    if missing:
        notes.append(f"without {metric.name}, left out: {', '.join(missing)}")
    return Seeds(metric, tuple(arms), tuple(notes))
