"""Accuracy against cost, and which arms no other arm beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo, parse_metric
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UsageError
from emabench.report.figures._arm_looks import ArmLook, arm_looks
from emabench.report.figures._axes import (
    axis_label,
    bounds,
    error_bars,
    mean_shown,
    page_axis,
    page_mark,
    rounded,
    shown_value,
)
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, left_out, option
from emabench.report.figures._sheet import (
    MANY,
    height_with_legend,
    interval_in_words,
    new_sheet,
    seeds_in_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRONT_LABEL = "Pareto front (filled marks)"
_FRONT_COLOUR = "#c2185b"
"""No arm has it."""
_WIDTH = 8.2
"""Inches, which holds three columns of names."""


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
    looks: Mapping[str, ArmLook]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is shown, in words."""
        return f"{self.metric.name} against {self.cost.name}"

    @property
    def steps(self) -> Literal["pre", "post"]:
        """Where the front climbs: the cheaper arms are to the right if more is better."""
        return "pre" if self.cost.higher_is_better else "post"

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


def draw_pareto(shown: Pareto, *, source: str = "") -> Figure:
    """Draw a mark per arm, with an interval in each direction, and the front as a staircase.

    Args:
        shown: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    counts = [point.value.n for point in shown.points]
    labels = [f"{point.label} (n={point.value.n})" for point in shown.points]
    across = bounds([point.cost for point in shown.points])
    upright = bounds([point.value for point in shown.points])
    names = [*labels, _FRONT_LABEL]
    sheet = new_sheet(
        _WIDTH,
        height_with_legend(4.6 if len(names) > MANY else 4.2, names, _WIDTH),
        title=f"{shown.title} · {seeds_in_words(counts)} · "
        + interval_in_words(counts, cut=bool(across or upright)),
        source=source,
    )
    panel = sheet.body.subplots()
    crowded = len(shown.points) > MANY
    handles = [
        _draw_point(panel, point, shown.looks[point.label], crowded=crowded)
        for point in shown.points
    ]
    panel.set_xlabel(axis_label(shown.cost, direction=True))
    panel.set_ylabel(axis_label(shown.metric, direction=True))
    panel.grid(alpha=0.3)
    panel.margins(0.08)
    if across is not None:
        panel.set_xlim(across)
    if upright is not None:
        panel.set_ylim(upright)
    if len(shown.points) > 1:
        handles.append(_draw_front(panel, shown))
        labels.append(_FRONT_LABEL)
    sheet.add_legend(handles, labels, "arm")
    return sheet.figure


def _draw_point(panel: Axes, point: ParetoPoint, look: ArmLook, *, crowded: bool) -> Any:
    """Draw an arm; among many the intervals of those that are beaten step back."""
    mark = panel.errorbar(
        [point.cost.mean],
        [point.value.mean],
        xerr=error_bars([point.cost]),
        yerr=error_bars([point.value]),
        fmt=look.marker,
        color=look.shade,
        markerfacecolor=look.shade if point.on_front else "white",
        markersize=9 if point.on_front else 7,
        elinewidth=1,
        capsize=3,
        zorder=4 if point.on_front else 3,
    )
    if crowded and not point.on_front:
        _, caps, bars = mark.lines
        for line in (*caps, *bars):
            line.set_alpha(0.3)
    return mark


def _draw_front(panel: Axes, shown: Pareto) -> Any:
    """Draw what the arms of the front make attainable: a staircase to the edges of the panel."""
    xs = [point.cost.mean for point in shown.front]
    ys = [point.value.mean for point in shown.front]
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    worst = bottom if shown.metric.higher_is_better else top
    if shown.cost.higher_is_better:
        xs, ys = [left, *xs, xs[-1]], [ys[0], *ys, worst]
    else:
        xs, ys = [xs[0], *xs, right], [worst, *ys, ys[-1]]
    (line,) = panel.plot(
        xs,
        ys,
        drawstyle=f"steps-{shown.steps}",
        linewidth=2.2,
        alpha=0.75,
        color=_FRONT_COLOUR,
        zorder=2,
    )
    panel.set_xlim(left, right)
    panel.set_ylim(bottom, top)
    return line


def pareto_figures(shown: Pareto) -> list[PageFigure]:
    """Return what a page draws: a series per arm, and the front."""
    series: list[dict[str, Any]] = [
        {
            "name": f"{point.label} (n={point.value.n})",
            "hollow": not point.on_front,
            "look": shown.looks[point.label].to_json(),
            "points": [{**page_mark("x", point.cost), **page_mark("y", point.value)}],
        }
        for point in shown.points
    ]
    if len(shown.points) > 1:
        front = [{"x": rounded(p.cost.mean), "y": rounded(p.value.mean)} for p in shown.front]
        series.append(
            {
                "name": "Pareto front",
                "role": "front",
                "steps": shown.steps,
                "worst": "low" if shown.metric.higher_is_better else "high",
                "points": front,
            }
        )
    return [
        {
            "kind": "xy",
            "title": shown.title,
            "x": page_axis(axis_label(shown.cost, direction=True), [p.cost for p in shown.points]),
            "y": page_axis(
                axis_label(shown.metric, direction=True), [p.value for p in shown.points]
            ),
            "series": series,
        }
    ]


@dataclass(frozen=True)
class ParetoPicture(Picture):
    """Draw accuracy against cost, arm by arm, with the Pareto front.

    Examples:
        emabench plot pareto -o pareto.png
        emabench plot pareto --metric knn_top1 --cost total_s --study which-block -o blocks.pdf
    """

    metric: str = option("top1", "NAME", "A metric, as for compare.")
    cost: str = option("step_ms", "NAME", "The cost: a metric, as for compare.")

    places = (1, 1)
    heading = "Accuracy against cost"
    caption = (
        "Means over seeds with 95 % intervals. Filled marks are on the Pareto front: no other arm "
        "is as good in both and better in one."
    )
    has_times = True
    draw = staticmethod(draw_pareto)
    page_figures = staticmethod(pareto_figures)

    @property
    def metrics(self) -> list[MetricInfo]:
        """The height and the cost."""
        return [parse_metric(self.metric), parse_metric(self.cost)]

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield every accuracy against every cost."""
        for metric in metrics:
            if metric.role == "accuracy":
                yield from (cls(metric.name, cost.name) for cost in metrics if cost.role == "cost")

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> Pareto:
        """Put each arm at the means of its cost and its metric.

        Raises:
            NotFoundError: no arm has both.
            UsageError: the two are the same.
        """
        metric, cost = self.metrics
        if metric.name == cost.name:
            raise UsageError(
                f"{metric.name} against itself shows nothing",
                hint="choose another with --metric or --cost",
            )
        found: list[tuple[str, MeanInterval, MeanInterval]] = []
        missing = []
        for shown in arms.arms:
            pairs = [
                (paid, reached)
                for run in shown.runs.values()
                if (paid := shown_value(cost, run, values)) is not None
                and (reached := shown_value(metric, run, values)) is not None
            ]
            costs, heights = (
                mean_shown(cost, (c for c, _ in pairs)),
                mean_shown(metric, (v for _, v in pairs)),
            )
            if costs is None or heights is None:
                missing.append(shown.label)
            else:
                found.append((shown.label, costs, heights))
        if not found:
            raise NotFoundError(
                f"no run has both {metric.name} and {cost.name}",
                hint="choose others with --metric and --cost; emabench show lists what a run has",
            )
        about = [each.note for each in (metric, cost) if each.note is not None]
        missed = left_out(f"without {metric.name} or {cost.name}", missing)
        notes = (*arms.notes, *about, *missed)
        points = [
            ParetoPoint(label, paid, value, not _is_beaten(paid, value, found, metric, cost))
            for label, paid, value in found
        ]
        return Pareto(metric, cost, tuple(points), arm_looks(arms.arms), notes)
