"""Whether one figure predicts another one: rank correlations over the arms of each EMA scope."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emabench.analysis.arms import TARGET_GRADIENT, Arm
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import NORMAL_QUANTILE, check_pairs
from emabench.errors import NotFoundError
from emabench.records import MetricPoint, RunRecord
from emabench.table import counted

PointsOf = Callable[[str], Sequence[MetricPoint]]
"""Gives the metrics of a run by its id, in the order of steps."""


@dataclass(frozen=True)
class RankCorrelation:
    """How far one figure puts things in the order of another one.

    Attributes:
        rho: Spearman's coefficient; None where one of the figures never differs.
        low: lower end of the 95 % interval; None for fewer than 4, and for a perfect order.
        high: upper end.
        n: number of pairs.
    """

    rho: float | None
    low: float | None
    high: float | None
    n: int


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


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """Correlate the ranks of two figures; ties share their rank.

    The interval is that of Bonett and Wright (Psychometrika 65, 2000): normal after Fisher's
    transformation, with the variance (1 + rho² / 2) / (n - 3).
    """
    from scipy.stats import rankdata

    check_pairs(first, second)
    n = len(first)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return RankCorrelation(None, None, None, n)
    rho = float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
    if n < 4 or abs(rho) > 1 - 1e-9:
        return RankCorrelation(rho, None, None, n)
    reach = NORMAL_QUANTILE * math.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = math.atanh(rho)
    return RankCorrelation(rho, math.tanh(centre - reach), math.tanh(centre + reach), n)


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
