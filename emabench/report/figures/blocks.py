"""Accuracy by EMA'd block: each block averaged alone, and each with all that follow it."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from emabench.analysis.arms import SCOPE, TARGET_GRADIENT, Arm, told_by_others
from emabench.analysis.baseline import MEANINGLESS_WITHOUT_EMA
from emabench.analysis.curves.stability import FLUCTUATION, block_rank
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo, parse_metric_of_runs
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError
from emabench.report.figures._axes import (
    axis_label,
    bounds,
    error_bars,
    neighbours,
    page_axis,
    page_mark,
    shown_value,
)
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, option
from emabench.report.figures._sheet import (
    DASHES,
    GREY,
    INK,
    interval_in_words,
    new_sheet,
    seeds_in_words,
    shade,
)
from emabench.spec.scope import PROJECTOR
from emabench.table import show_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MONITOR = "grad_"
_COLUMNS = 2
_APART = 0.12
"""The series stand beside each other above a block."""
_SERIES = (
    ("single", "this block alone", "o", -_APART),
    ("onward", "this block and all that follow", "s", _APART),
    ("others", "this scope", "D", 0.0),
)


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


def draw_blocks(shown: BlockAccuracies, *, source: str = "") -> Figure:
    """Draw a panel per method, the blocks from left to right; without EMA as lines across.

    Lines join blocks that stand beside each other: nothing is known of those between others.

    Args:
        shown: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    counts = [n for panel in shown.panels for n in panel.n]
    columns = min(_COLUMNS, len(shown.panels))
    rows = math.ceil(len(shown.panels) / columns)
    width = max(2.4, 0.6 + 0.62 * max(1, len(shown.places)))
    upright = bounds([estimate for panel in shown.panels for estimate in panel.estimates])
    sheet = new_sheet(
        3.2 + width * columns,
        0.9 + 2.9 * rows,
        title=f"{shown.metric.name} by the blocks that the target averages · "
        f"{seeds_in_words(counts)} · "
        + interval_in_words(counts, "bars and bands", cut=upright is not None),
        source=source,
    )
    axes = sheet.body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    if upright is not None:
        axes[0].set_ylim(upright)
    handles: dict[str, Any] = {}
    without = list(dict.fromkeys(label for panel in shown.panels for label in panel.without))
    for index, (panel, ax) in enumerate(zip(shown.panels, axes, strict=False)):
        _draw_without(ax, panel, without, handles)
        _draw_panel(ax, panel, shown.places, handles)
        several = len(set(panel.n)) > 1
        # No-break spaces, so that a line does not end within.
        n = f"n={min(panel.n)}\xa0to\xa0{max(panel.n)}" if several else f"n={panel.n[0]}"
        title = f"{panel.title} ({n})" if panel.title else n
        ax.set_title(textwrap.fill(title, int(9 * width)), fontsize=9)
        ax.tick_params(labelbottom=index + columns >= len(shown.panels))
    for ax in axes[len(shown.panels) :]:
        ax.set_visible(False)
    sheet.body.supxlabel("averaged block, from the input to the output", fontsize=10)
    sheet.body.supylabel(axis_label(shown.metric), fontsize=10)
    sheet.add_legend(list(handles.values()), handles, "the target averages")
    return sheet.figure


def _draw_without(
    ax: Axes, panel: BlockPanel, labels: Sequence[str], handles: dict[str, Any]
) -> None:
    """Draw the arms without EMA as lines across, each label in its own dashes in every panel."""
    for label, estimate in panel.without.items():
        place = labels.index(label)
        colour = (INK, GREY)[place % 2]
        line = ax.axhline(
            estimate.mean, color=colour, linestyle=DASHES[1 + place % 3], linewidth=1.3
        )
        if estimate.low is not None and estimate.high is not None:
            ax.axhspan(estimate.low, estimate.high, color=colour, alpha=0.1, linewidth=0)
        handles.setdefault(f"nothing ({label})", line)


def _draw_panel(
    ax: Axes, panel: BlockPanel, places: Sequence[str], handles: dict[str, Any]
) -> None:
    for place, (name, words, marker, beside) in enumerate(_SERIES):
        estimates: Mapping[str, MeanInterval] = getattr(panel, name)
        if not estimates:
            continue
        there = [at for at, block in enumerate(places) if block in estimates]
        stretches = [[at] for at in there] if name == "others" else neighbours(there)
        for stretch in stretches:
            values = [estimates[places[at]] for at in stretch]
            mark = ax.errorbar(
                [at + beside for at in stretch],
                [value.mean for value in values],
                yerr=error_bars(values),
                fmt=marker,
                linestyle="none" if name == "others" else DASHES[place],
                color=shade(place, len(_SERIES)),
                markersize=6,
                linewidth=1.0,
                elinewidth=1.0,
                capsize=3,
            )
            handles.setdefault(words, mark)
    names = [textwrap.fill(place, 12) for place in places]
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 0, fontsize=8)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(alpha=0.3)


def blocks_figures(shown: BlockAccuracies) -> list[PageFigure]:
    """Return what a page draws: a figure per panel."""
    figures: list[PageFigure] = []
    for panel in shown.panels:
        series = []
        for name, words, *_ in _SERIES:
            estimates: Mapping[str, MeanInterval] = getattr(panel, name)
            points = [
                {"x": place, **page_mark("y", estimates[block]), "n": estimates[block].n}
                for place, block in enumerate(shown.places)
                if block in estimates
            ]
            if points:
                series.append({"name": words, "line": name != "others", "points": points})
        figures.append(
            {
                "kind": "xy",
                "title": " ".join(filter(None, (panel.title, "by averaged block"))),
                "x": {"label": "averaged block", "names": list(shown.places)},
                "y": page_axis(axis_label(shown.metric), panel.estimates),
                "series": series,
                "lines": [
                    {"name": f"nothing ({label})", **page_mark("y", estimate), "n": estimate.n}
                    for label, estimate in panel.without.items()
                ],
            }
        )
    return figures


@dataclass(frozen=True)
class BlocksPicture(Picture):
    """Draw accuracy by averaged block: each alone, and each with all that follow.

    Examples:
        emabench plot blocks --study which-block -o blocks.png
    """

    metric: str = option("top1", "NAME", "A metric, as for compare.")

    places = (6, 6)
    heading = "Accuracy by averaged block"
    caption = "Each block averaged alone, and each with all that follow; 95 % intervals."
    names_arms = False
    draw = staticmethod(draw_blocks)
    page_figures = staticmethod(blocks_figures)

    @property
    def metrics(self) -> list[MetricInfo]:
        """The height."""
        return [parse_metric_of_runs(self.metric)]

    @property
    def points(self) -> tuple[str, ...]:
        """Those of the gradient monitor, which names the blocks."""
        return (f"{FLUCTUATION}:",)

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield one for every accuracy."""
        return (cls(metric.name) for metric in metrics if metric.role == "accuracy")

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> BlockAccuracies:
        """Sort the arms by the blocks that they average.

        The blocks of an encoder are known from the gradient monitor and from the scopes themselves.
        Only where the monitor names the first block is ``full`` shown above it.

        Raises:
            NotFoundError: no run has the metric.
        """
        (metric,) = self.metrics
        watched = {
            point.name.partition(":")[2]
            for run in arms.runs
            for point in values.points.get(run.id, ())
            if point.name.startswith(_MONITOR) and ":" in point.name
        }
        named = {block for shown in arms.arms for block in _named_blocks(shown.scope)}
        blocks = sorted(watched | named, key=block_rank)
        first = blocks[0] if watched else None
        groups: dict[str, list[Arm]] = {}
        told = told_by_others(arms.arms, arms.differing)
        differing = [path for path in arms.differing if path not in told]
        for shown in arms.arms:
            groups.setdefault(_key(shown, differing), []).append(shown)
        _share_arms_without_ema(groups)
        panels, others = [], []
        for key, group in groups.items():
            heights = {
                shown.label: MeanInterval.of(
                    shown_value(metric, run, values) for run in shown.runs.values()
                )
                for shown in group
            }
            panel = _panel(_title(json.loads(key), groups), group, blocks, first, heights)
            if panel.n:
                panels.append(panel)
                others += [scope for scope in panel.others if scope not in others]
        if not panels:
            raise NotFoundError(
                f"no run has {metric.name}", hint="emabench show lists what a run has"
            )
        used = [b for b in blocks if watched or any(b in p.single or b in p.onward for p in panels)]
        return BlockAccuracies(metric, (*used, *others), tuple(panels), arms.notes)
