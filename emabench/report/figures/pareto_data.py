"""Accuracy against cost, and which arms no other arm beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UsageError
from emabench.report.figures.axis import shown_value


@dataclass(frozen=True)
class ParetoPoint:
    """One arm; of seeds that lack one of the two figures the other is left out too.

    Attributes:
        label: names the arm.
        cost: in the unit that is shown.
        value: in the unit that is shown.
        on_front: whether no other arm is as good in both means and better in one.
    """

    label: str
    cost: MeanInterval
    value: MeanInterval
    on_front: bool


@dataclass(frozen=True)
class Pareto:
    """What each arm reaches, and at which cost."""

    metric: MetricInfo
    cost: MetricInfo
    points: tuple[ParetoPoint, ...]
    notes: tuple[str, ...] = ()

    @property
    def front(self) -> list[ParetoPoint]:
        """The points of the front, in the order of their cost."""
        return sorted((p for p in self.points if p.on_front), key=lambda point: point.cost.mean)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "metric": self.metric.name,
            "metric_unit": self.metric.shown_unit,
            "cost": self.cost.name,
            "cost_unit": self.cost.shown_unit,
            "points": [asdict(point) for point in self.points],
            "notes": list(self.notes),
        }


def pareto(
    chosen: Arms, metric: MetricInfo, cost: MetricInfo, measured: MetricValues | None = None
) -> Pareto:
    """Put each arm at the means of its cost and its metric.

    Args:
        chosen: the arms.
        metric: the height.
        cost: the other axis.
        measured: what the store holds beside the records of the runs.

    Raises:
        NotFoundError: no arm has both.
        UsageError: the two are the same.
    """
    if metric.name == cost.name:
        raise UsageError(
            f"{metric.name} against itself shows nothing",
            hint="choose another with --metric or --cost",
        )
    read = (measured or MetricValues()).value
    found: list[tuple[str, MeanInterval, MeanInterval]] = []
    missing = []
    for shown in chosen.arms:
        pairs = [
            (shown_value(cost, paid), shown_value(metric, reached))
            for run in shown.runs.values()
            if (paid := read(cost, run)) is not None and (reached := read(metric, run)) is not None
        ]
        costs, values = MeanInterval.of(c for c, _ in pairs), MeanInterval.of(v for _, v in pairs)
        if costs is None or values is None:
            missing.append(shown.label)
        else:
            found.append((shown.label, costs, values))
    if not found:
        raise NotFoundError(
            f"no run holds both {metric.name} and {cost.name}",
            hint="choose others with --metric and --cost; emabench show lists what a run holds",
        )
    notes = list(chosen.notes)
    if missing:
        notes.append(f"without {metric.name} or {cost.name}, left out: {', '.join(missing)}")
    points = [
        ParetoPoint(label, paid, value, not _is_beaten(paid, value, found, metric, cost))
        for label, paid, value in found
    ]
    return Pareto(metric, cost, tuple(points), tuple(notes))


def _is_beaten(
    cost: MeanInterval,
    value: MeanInterval,
    others: Sequence[tuple[str, MeanInterval, MeanInterval]],
    metric: MetricInfo,
    cost_metric: MetricInfo,
) -> bool:
    """Whether another arm is as good in both means and better in one."""
    own = (_oriented(cost_metric, cost), _oriented(metric, value))
    for _, other_cost, other_value in others:
        other = (_oriented(cost_metric, other_cost), _oriented(metric, other_value))
        if other != own and other[0] >= own[0] and other[1] >= own[1]:
            return True
    return False


def _oriented(metric: MetricInfo, estimate: MeanInterval) -> float:
    """Return the mean such that more is better."""
    return estimate.mean if metric.higher_is_better else -estimate.mean
