"""A run as every tracker shows it: names, settings, curves by step, and figures once it is over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Any

from emabench.analysis.arms import METHOD, SCOPE, SEED, arm_name, fields_of
from emabench.analysis.metric_values import told_points
from emabench.records import MetricPoint, RunRecord
from emabench.table import visible


@dataclass(frozen=True)
class MirroredRun:
    """A run that has begun, with its curves.

    Attributes:
        record: as the store has it.
        points: all of its metrics, in the order of steps.
    """

    record: RunRecord
    points: Sequence[MetricPoint]

    @property
    def id(self) -> str:
        """Its id in the store."""
        return self.record.id

    @property
    def label(self) -> str:
        """What tells it from all others and never changes: ``moco-full-seed0-3fa94c2b81d0``."""
        known = self.settings
        return visible(f"{known.get(METHOD)}-{known.get(SCOPE)}-seed{known.get(SEED)}-{self.id}")

    @cached_property
    def group(self) -> str:
        """Name of its arm: runs that differ only in their seed share it."""
        return visible(arm_name(self.record))

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Every known field of its spec by path, the seed among them, and its identity."""
        known = {path: value for path, value in fields_of(self.record).items() if value is not None}
        return {visible(path): _plain(known[path]) for path in sorted(known)}

    @cached_property
    def about(self) -> Mapping[str, str]:
        """Texts about it: ``run``, ``group``, ``state``, and those that are known of the others."""
        record, where = self.record, self.record.environment
        texts = {
            "run": self.id,
            "group": self.group,
            "state": record.state.value,
            "name": record.name,
            "studies": " ".join(record.studies),
            "command": record.command,
            "device": where and where.device,
            "commit": where and where.commit,
            "warnings": "\n".join(record.warnings),
        }
        return {name: visible(text) for name, text in texts.items() if text}

    @cached_property
    def steps(self) -> Sequence[tuple[int, int, Mapping[str, float]]]:
        """The curves: step, epoch and values by name, every step once, in order.

        Names are as panels group them, ``grad_norm/layer4``.
        """
        told = sorted(told_points(self.record, self.points), key=lambda point: point.step)
        steps = []
        for step, of_step in groupby(told, key=lambda point: point.step):
            points = sorted(of_step, key=lambda point: point.name)
            values = {visible(point.name).replace(":", "/"): point.value for point in points}
            steps.append((step, max(point.epoch for point in points), values))
        return steps

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """Results (``result/top1``) and costs (``cost/total_s``) of all attempts, at its end."""
        if not self.is_over:
            return {}
        results = {f"result/{name}": value for name, value in self.record.results.items()}
        costs = self.record.cost.as_dict().items()
        costs_known = {f"cost/{name}": float(value) for name, value in costs if value is not None}
        return {visible(name): value for name, value in (results | costs_known).items()}

    @property
    def last_step(self) -> int:
        """The step that its figures stand at: the newest of the curves, or 0."""
        return self.steps[-1][0] if self.steps else 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it unless somebody asks for it."""
        return self.record.is_over

    @property
    def begun_at(self) -> datetime:
        """When its first attempt began: the one time that the store knows of every point."""
        return min(self._attempts("started_at"), default=self.record.created_at)

    @property
    def ended_at(self) -> datetime:
        """When its last attempt ended, or began where none ended."""
        return max(self._attempts("ended_at"), default=self.begun_at)

    def _attempts(self, moment: str) -> list[datetime]:
        attempts = (attempt for job in self.record.jobs for attempt in job.attempts)
        return [at for attempt in attempts if (at := getattr(attempt, moment)) is not None]


def _plain(value: Any) -> Any:
    """Return text, a number, or JSON of anything else."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, bool | int | float):
        return value
    return visible(json.dumps(value, sort_keys=True, default=str))
