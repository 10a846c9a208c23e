"""Whether one figure predicts another one: rank correlations over the arms of each EMA scope."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis.arms import TARGET_GRADIENT, Arm
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import RankCorrelation, rank_correlation
from emabench.errors import NotFoundError
from emabench.records import MetricPoint, RunRecord
from emabench.table import UNKNOWN, Table, counted

PointsOf = Callable[[str], Sequence[MetricPoint]]
"""Gives the metrics of a run by its id, in the order of steps."""


@dataclass(frozen=True)
class ScopeCorrelation:
    """The arms of one method and EMA scope, each with the mean of both figures over its seeds.

    Attributes:
        method: name of the method.
        scope: canonical EMA scope.
        target_gradient: ``attach`` or ``detach``: it tells a control arm.
        arms: by label, both figures.
        ranks: their rank correlation.
    """

    method: str
    scope: str
    target_gradient: str
    arms: dict[str, tuple[float, float]]
    ranks: RankCorrelation


@dataclass(frozen=True)
class Correlations:
    """What the arms say of two figures, and notes on what was left out."""

    first: str
    second: str
    groups: tuple[ScopeCorrelation, ...]
    notes: tuple[str, ...]

    def to_table(self, *, exact: bool = False) -> Table:
        """Return one line per method and EMA scope.

        Args:
            exact: for programs: a number per column, in full precision.
        """
        groups = ("method", "ema_scope", "target_gradient", "arms")
        if exact:
            plain = [
                (each.method, each.scope, each.target_gradient, r.n, r.rho, r.low, r.high)
                for each, r in ((each, each.ranks) for each in self.groups)
            ]
            return Table((*groups, "rho", "low", "high"), tuple(plain))
        rows = [
            (
                each.method,
                each.scope,
                each.target_gradient,
                each.ranks.n,
                UNKNOWN if each.ranks.rho is None else f"{each.ranks.rho:.2f}",
                _interval(each.ranks),
            )
            for each in self.groups
        ]
        headers = (*groups, "rank correlation", "95 %")
        return Table(headers, tuple(rows), right=frozenset({"arms", "rank correlation"}))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "schema_version": 1,
            "figures": [self.first, self.second],
            "groups": [
                {
                    "method": each.method,
                    "ema_scope": each.scope,
                    "target_gradient": each.target_gradient,
                    **asdict(each.ranks),
                    "arms": [
                        {"label": label, "values": list(values)}
                        for label, values in each.arms.items()
                    ],
                }
                for each in self.groups
            ],
            "notes": list(self.notes),
        }


def correlations(arms: Arms, points_of: PointsOf, first: str, second: str) -> Correlations:
    """Correlate two figures over the arms of each method and EMA scope.

    An arm counts once, with the mean of its seeds: seeds of one arm are no independent points.

    Args:
        arms: whose.
        points_of: gives the metrics of a run, whose last value counts where there is no result.
        first: name of a result or metric.
        second: of the other one.

    Raises:
        NotFoundError: no run has both.
    """
    groups: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = {}
    lacking = 0
    for arm in arms.arms:
        found = [
            (one, other)
            for run in arm.runs.values()
            for one, other in [(_value(run, points_of, first), _value(run, points_of, second))]
            if one is not None and other is not None
        ]
        lacking += len(arm.runs) - len(found)
        if found:
            means = tuple(statistics.fmean(values) for values in zip(*found, strict=True))
            groups.setdefault(_key(arm), {})[arm.label] = (means[0], means[1])
    if not groups:
        raise NotFoundError(
            f"no run has both {first} and {second}",
            hint="emabench show RUN lists its results and metrics",
        )
    notes = list(arms.notes)
    if lacking:
        notes.append(f"{counted(lacking, 'run')} without {first} or {second} left out")
    return Correlations(
        first,
        second,
        tuple(
            ScopeCorrelation(
                *key,
                points,
                rank_correlation(
                    [one for one, _ in points.values()], [other for _, other in points.values()]
                ),
            )
            for key, points in groups.items()
        ),
        tuple(notes),
    )


def _key(arm: Arm) -> tuple[str, str, str]:
    return arm.method, arm.scope, str(arm.fields.get(TARGET_GRADIENT))


def _value(run: RunRecord, points_of: PointsOf, name: str) -> float | None:
    value = run.results.get(name)
    if value is None:
        value = next((p.value for p in reversed(points_of(run.id)) if p.name == name), None)
    return value if value is not None and math.isfinite(value) else None


def _interval(ranks: RankCorrelation) -> str:
    if ranks.low is None or ranks.high is None:
        return UNKNOWN
    return f"{ranks.low:.2f} … {ranks.high:.2f}"
