"""The pictures of a page: every one that the runs can fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.stability import FLUCTUATION, stability
from emabench.errors import NotFoundError, UsageError
from emabench.records import MetricPoint
from emabench.report.figures import page_figure as draw
from emabench.report.figures.blocks_data import block_accuracies
from emabench.report.figures.cost_data import Whole, cost_breakdown
from emabench.report.figures.curves_data import curves
from emabench.report.figures.pareto_data import pareto
from emabench.report.figures.seeds_data import seeds

CURVES = ("online_top1", "loss", "embedding_std", "effective_rank")
"""Metrics of the training that a page shows, as far as runs hold them."""


@dataclass(frozen=True)
class FigureGroup:
    """Pictures of one kind, of which the reader chooses one.

    Attributes:
        key: its name in the page.
        heading: for people.
        caption: what the marks mean.
        figures: at least one.
    """

    key: str
    heading: str
    caption: str
    figures: tuple[draw.Figure, ...]


def wanted_points(quantity: str = FLUCTUATION) -> tuple[str, ...]:
    """Return the names of the metrics that the pictures need, as ``WantedValues`` has them."""
    return (*CURVES, f"{quantity}:")


@dataclass(frozen=True)
class Drawable:
    """What the pictures of a page are made of.

    Attributes:
        arms: that are shown.
        points: by run, the metrics that ``wanted_points`` names.
        metrics: that are compared; the accuracies and costs among them make the axes.
        measured: what the store holds beside the records of the runs.
        quantity: of the gradient monitor.
    """

    arms: Arms
    points: Mapping[str, Sequence[MetricPoint]]
    metrics: Sequence[MetricInfo]
    measured: MetricValues
    quantity: str = FLUCTUATION

    def metrics_of(self, run: str) -> Sequence[MetricPoint]:
        """Return the metrics of a run."""
        return self.points.get(run, ())

    def with_role(self, role: str) -> list[MetricInfo]:
        """Return the metrics of a role."""
        return [metric for metric in self.metrics if metric.role == role]


def figure_groups(drawable: Drawable) -> list[FigureGroup]:
    """Return every kind of picture that the runs can fill; what they do not hold is no picture."""
    groups = [
        FigureGroup(key, heading, caption, tuple(figures(drawable)))
        for key, heading, caption, figures in _KINDS
    ]
    return [group for group in groups if group.figures]


_unfilled = partial(suppress, NotFoundError, UsageError)
"""What the runs do not hold is no picture."""


def _pareto(drawable: Drawable) -> Iterator[draw.Figure]:
    for metric in drawable.with_role("accuracy"):
        for cost in drawable.with_role("cost"):
            with _unfilled():
                yield draw.pareto_figure(pareto(drawable.arms, metric, cost, drawable.measured))


def _curves(drawable: Drawable) -> Iterator[draw.Figure]:
    for name in CURVES:
        with _unfilled():
            yield from draw.curve_figures(curves(drawable.arms, drawable.metrics_of, name))


def _cost(drawable: Drawable) -> Iterator[draw.Figure]:
    wholes: tuple[Whole, ...] = ("step", "run")
    for whole in wholes:
        with _unfilled():
            yield draw.cost_figure(cost_breakdown(drawable.arms, whole))


def _seeds(drawable: Drawable) -> Iterator[draw.Figure]:
    for metric in drawable.metrics:
        with _unfilled():
            yield draw.seeds_figure(seeds(drawable.arms, metric, drawable.measured))


def _blocks(drawable: Drawable) -> Iterator[draw.Figure]:
    for metric in drawable.with_role("accuracy"):
        with _unfilled():
            shown = block_accuracies(drawable.arms, drawable.metrics_of, metric, drawable.measured)
            yield from draw.block_figures(shown)


def _stability(drawable: Drawable) -> Iterator[draw.Figure]:
    with _unfilled():
        shown = stability(drawable.arms, drawable.metrics_of, drawable.quantity)
        for arm in shown.arms:
            yield draw.stability_figure(shown, arm)


_KINDS = (
    (
        "pareto",
        "Accuracy against cost",
        "Means over seeds with 95 % intervals. Filled marks are on the Pareto front: no other arm "
        "is as good in both and better in one.",
        _pareto,
    ),
    (
        "curves",
        "Learning curves",
        "Means over seeds; bands are 95 % intervals. The time of training is the step times the "
        "mean seconds of a step; evaluation is not in it.",
        _curves,
    ),
    (
        "cost",
        "Where the time goes",
        "Means over seeds; the mark is the measured whole with its 95 % interval.",
        _cost,
    ),
    ("seeds", "Every seed", "A mark per run; the bars are means with 95 % intervals.", _seeds),
    (
        "blocks",
        "Accuracy by averaged block",
        "Each block averaged alone, and each with all that follow; 95 % intervals.",
        _blocks,
    ),
    (
        "stability",
        "Fluctuation of the gradient",
        "At the output of every block, from the input to the projector; bands are ± 1 sd.",
        _stability,
    ),
)
