"""Accuracy by EMA'd block: each block averaged alone, and each with all that follow it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from emabench.analysis.arms import SCOPE, TARGET_GRADIENT, Arm
from emabench.analysis.baseline import MEANINGLESS_WITHOUT_EMA
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.stability import block_rank
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError
from emabench.report.figures.axis import shown_value
from emabench.report.figures.curves_data import MetricsOf
from emabench.spec.scope import PROJECTOR
from emabench.table import show_value

_MONITOR = "grad_"


@dataclass(frozen=True)
class BlockPanel:
    """Arms that agree on everything but the EMA scope.

    Attributes:
        title: what tells the panel from the others; empty for a single one.
        single: by block, the arm that averages this block alone.
        onward: by block, the arm that averages it and all that follow, the projector included.
        without: by label, the arms that average nothing.
        others: by scope, the arms that are neither.
    """

    title: str
    single: Mapping[str, MeanInterval] = field(default_factory=dict)
    onward: Mapping[str, MeanInterval] = field(default_factory=dict)
    without: Mapping[str, MeanInterval] = field(default_factory=dict)
    others: Mapping[str, MeanInterval] = field(default_factory=dict)

    @property
    def estimates(self) -> list[MeanInterval]:
        """Those of all its arms."""
        found = (self.single, self.onward, self.without, self.others)
        return [estimate for estimates in found for estimate in estimates.values()]

    @property
    def n(self) -> list[int]:
        """Numbers of seeds of its arms."""
        return [estimate.n for estimate in self.estimates]


@dataclass(frozen=True)
class BlockAccuracies:
    """A metric by the blocks that are averaged; ``places`` are the blocks, then other scopes."""

    metric: MetricInfo
    places: tuple[str, ...]
    panels: tuple[BlockPanel, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "metric": self.metric.name,
            "unit": self.metric.shown_unit,
            "places": list(self.places),
            "panels": [asdict(panel) for panel in self.panels],
            "notes": list(self.notes),
        }


def block_accuracies(
    chosen: Arms,
    metrics_of: MetricsOf,
    metric: MetricInfo,
    measured: MetricValues | None = None,
) -> BlockAccuracies:
    """Sort the arms by the blocks that they average.

    The blocks of an encoder are known from the gradient monitor and from the scopes themselves.
    Only where the monitor names the first block is ``full`` shown above it.

    Args:
        chosen: the arms.
        metrics_of: gives the metrics of a run by its id.
        metric: the height.
        measured: what the store holds beside the records of the runs.

    Raises:
        NotFoundError: no run has the metric.
    """
    read = (measured or MetricValues()).value
    watched = {
        point.name.partition(":")[2]
        for run in chosen.runs
        for point in metrics_of(run.id)
        if point.name.startswith(_MONITOR) and ":" in point.name
    }
    named = {block for shown in chosen.arms for block in _named_blocks(shown.scope)}
    blocks = sorted(watched | named, key=block_rank)
    first = blocks[0] if watched else None
    groups: dict[str, list[Arm]] = {}
    for shown in chosen.arms:
        groups.setdefault(_key(shown, chosen.differing), []).append(shown)
    _share_arms_without_ema(groups)
    panels, others = [], []
    for key, arms in groups.items():
        values = {
            shown.label: MeanInterval.of(
                None if (value := read(metric, run)) is None else shown_value(metric, value)
                for run in shown.runs.values()
            )
            for shown in arms
        }
        panel = _panel(_title(json.loads(key), groups), arms, blocks, first, values)
        if panel.n:
            panels.append(panel)
            others += [scope for scope in panel.others if scope not in others]
    if not panels:
        raise NotFoundError(
            f"no run holds {metric.name}", hint="emabench show lists what a run holds"
        )
    used = [b for b in blocks if watched or any(b in p.single or b in p.onward for p in panels)]
    return BlockAccuracies(metric, (*used, *others), tuple(panels), chosen.notes)


def _named_blocks(scope: str) -> list[str]:
    """Return the blocks that a canonical scope names."""
    if scope in ("none", "full", "backbone"):
        return []
    return scope.removeprefix("from:").split("+")


def _key(shown: Arm, differing: Iterable[str]) -> str:
    """Return what arms of one panel agree on, as JSON."""
    fields: dict[str, Any] = {"method": shown.method}
    for path in differing:
        meaningless = MEANINGLESS_WITHOUT_EMA if shown.scope == "none" else set()
        if path not in (SCOPE, TARGET_GRADIENT, *meaningless):
            fields[path] = shown.fields.get(path)
    return json.dumps(fields, sort_keys=True, default=str)


def _share_arms_without_ema(groups: dict[str, list[Arm]]) -> None:
    """Put arms without EMA, which have no decay, into every panel that agrees on the rest."""
    for key in list(groups):
        fields = json.loads(key)
        wider = [
            other
            for other in groups
            if other != key
            and (theirs := json.loads(other)).keys() > fields.keys()
            and all(theirs[path] == value for path, value in fields.items())
        ]
        if wider and all(shown.scope == "none" for shown in groups[key]):
            for other in wider:
                groups[other] += groups[key]
            del groups[key]


def _title(fields: Mapping[str, Any], groups: Iterable[str]) -> str:
    everywhere = [json.loads(key) for key in groups]
    parts = []
    for path, value in fields.items():
        if any(other.get(path) != value for other in everywhere):
            name = "" if path == "method" else f"{path.rpartition('.')[2]}="
            parts.append(f"{name}{show_value(value)}")
    return " ".join(parts)


def _panel(
    title: str,
    arms: Sequence[Arm],
    blocks: Sequence[str],
    first: str | None,
    values: Mapping[str, MeanInterval | None],
) -> BlockPanel:
    panel: dict[str, dict[str, MeanInterval]] = {
        name: {} for name in ("single", "onward", "without", "others")
    }
    for shown in arms:
        scope = shown.scope
        estimate = values[shown.label]
        if estimate is None:
            continue
        if scope == "none":
            detached = shown.fields.get(TARGET_GRADIENT) == "detach"
            panel["without"]["none, target detached" if detached else "none"] = estimate
        elif scope in blocks:
            panel["single"][scope] = estimate
            if scope == PROJECTOR:  # the last block and all that follow it are the same
                panel["onward"][scope] = estimate
        elif scope.removeprefix("from:") in blocks:
            panel["onward"][scope.removeprefix("from:")] = estimate
        elif scope == "full" and first is not None:
            panel["onward"][first] = estimate
        else:
            panel["others"][scope] = estimate
    return BlockPanel(title, **panel)
