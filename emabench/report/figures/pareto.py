"""Accuracy against cost, and which arms no other arm beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo, parse_metric
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UsageError
from emabench.report.figures._axes import (
    axis_label,
    bounds,
    error_bars,
    page_axis,
    page_mark,
    rounded,
    shown_value,
)
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, left_out, option
from emabench.report.figures._sheet import (
    GREY,
    MARKERS,
    interval_in_words,
    legend_height,
    new_sheet,
    seeds_in_words,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRONT_LABEL = "Pareto front (filled marks)"


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
    sheet = new_sheet(
        8.0,
        max(4.2, legend_height([*labels, _FRONT_LABEL])),
        title=f"{shown.title} · {seeds_in_words(counts)} · "
        + interval_in_words(counts, cut=bool(across or upright)),
        source=source,
    )
    panel = sheet.body.subplots()
    handles = [
        _draw_point(panel, point, place, len(counts)) for place, point in enumerate(shown.points)
    ]
    if len(shown.points) > 1:
        handles.append(_draw_front(panel, shown))
        labels.append(_FRONT_LABEL)
    panel.set_xlabel(axis_label(shown.cost, direction=True))
    panel.set_ylabel(axis_label(shown.metric, direction=True))
    panel.grid(alpha=0.3)
    panel.margins(0.08)
    if across is not None:
        panel.set_xlim(across)
    if upright is not None:
        panel.set_ylim(upright)
    sheet.add_legend(handles, labels, "arm")
    return sheet.figure


def _draw_point(panel: Axes, point: ParetoPoint, place: int, count: int) -> Any:
    colour = shade(place, count)
    return panel.errorbar(
        [point.cost.mean],
        [point.value.mean],
        xerr=error_bars([point.cost]),
        yerr=error_bars([point.value]),
        fmt=MARKERS[place % len(MARKERS)],
        color=colour,
        markerfacecolor=colour if point.on_front else "white",
        markersize=8,
        elinewidth=1,
        capsize=3,
        zorder=3,
    )


def _draw_front(panel: Axes, shown: Pareto) -> Any:
    """Draw what the arms of the front make attainable: a staircase between them."""
    front = shown.front
    (line,) = panel.plot(
        [point.cost.mean for point in front],
        [point.value.mean for point in front],
        drawstyle=f"steps-{shown.steps}",
        linestyle="dotted",
        linewidth=1.5,
        color=GREY,
        zorder=1,
    )
    return line


def pareto_figures(shown: Pareto) -> list[PageFigure]:
    """Return what a page draws: a series per arm, and the front."""
    series: list[dict[str, Any]] = [
        {
            "name": f"{point.label} (n={point.value.n})",
            "hollow": not point.on_front,
            "points": [{**page_mark("x", point.cost), **page_mark("y", point.value)}],
        }
        for point in shown.points
    ]
    if len(shown.front) > 1:
        front = [{"x": rounded(p.cost.mean), "y": rounded(p.value.mean)} for p in shown.front]
        series.append(
            {"name": "Pareto front", "role": "front", "steps": shown.steps, "points": front}
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
                MeanInterval.of(c for c, _ in pairs),
                MeanInterval.of(v for _, v in pairs),
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
        notes = (*arms.notes, *left_out(f"without {metric.name} or {cost.name}", missing))
        points = [
            ParetoPoint(label, paid, value, not _is_beaten(paid, value, found, metric, cost))
            for label, paid, value in found
        ]
        return Pareto(metric, cost, tuple(points), notes)
