"""Every seed of every arm: how far the runs of an arm lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo, parse_metric_of_runs
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError
from emabench.report.figures._arm_looks import ArmLook, arm_looks
from emabench.report.figures._axes import (
    axis_label,
    bounds,
    error_bars,
    name_arms,
    neighbours,
    page_axis,
    page_mark,
    rounded,
    row_inches,
    shown_value,
)
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, left_out, option
from emabench.report.figures._sheet import (
    GREY,
    INK,
    MARKERS,
    height_with_legend,
    interval_in_words,
    new_sheet,
    seeds_in_words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 8.5
"""Inches."""
_MEAN_BELOW = 0.24
"""The mean stands below the seeds of its arm, so that it hides none."""


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
    looks: Mapping[str, ArmLook]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is shown, in words."""
        return f"{self.metric.name} of every seed"

    @property
    def labels(self) -> list[str]:
        """The arms with their numbers of seeds."""
        return [f"{arm.label} (n={arm.estimate.n})" for arm in self.arms]

    @property
    def estimates(self) -> list[MeanInterval]:
        """The means of the arms."""
        return [arm.estimate for arm in self.arms]

    @property
    def values(self) -> list[float]:
        """Those of all runs."""
        return [value for arm in self.arms for value in arm.values.values()]

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


def draw_seeds(shown: Seeds, *, source: str = "") -> Figure:
    """Draw a row per arm: a mark per seed, joined to the arm beside it, and the mean with interval.

    Args:
        shown: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    counts = [each.n for each in shown.estimates]
    across = bounds(shown.estimates, shown.values)
    looks = [shown.looks[arm.label] for arm in shown.arms]
    rows_inches = 1.1 + 1.15 * row_inches(shown.labels) * len(counts)
    legend = ["seed"] * (len(shown.seeds) + 1)
    sheet = new_sheet(
        _WIDTH,
        height_with_legend(max(2.8, rows_inches), legend, _WIDTH),
        title=f"{shown.title} · {seeds_in_words(counts)} · "
        + interval_in_words(counts, cut=across is not None),
        source=source,
    )
    panel = sheet.body.subplots()
    handles: list[Any] = []
    labels = []
    for place, seed in enumerate(shown.seeds):
        values = {row: arm.values[seed] for row, arm in enumerate(shown.arms) if seed in arm.values}
        for rows in neighbours(list(values)):
            joined = [values[row] for row in rows]
            panel.plot(joined, rows, color=GREY, linewidth=0.6, alpha=0.6, zorder=1)
        marker = MARKERS[place % len(MARKERS)]
        colours = [looks[row].shade for row in values]
        panel.scatter(list(values.values()), list(values), marker=marker, c=colours, s=30, zorder=3)
        handles.append(panel.scatter([], [], marker=marker, color=INK, s=30))
        labels.append(f"seed {seed}")
    handles.append(
        panel.errorbar(
            [each.mean for each in shown.estimates],
            [row + _MEAN_BELOW for row in range(len(shown.arms))],
            xerr=error_bars(shown.estimates),
            fmt="|",
            color=INK,
            markersize=9,
            markeredgewidth=2,
            elinewidth=1.2,
            capsize=3,
            zorder=4,
        )
    )
    labels.append("mean")
    name_arms(panel, shown.labels, looks)
    panel.set_xlabel(axis_label(shown.metric))
    if across is not None:
        panel.set_xlim(across)
    panel.grid(alpha=0.3, axis="x")
    sheet.add_legend(handles, labels, "lines join a seed")
    return sheet.figure


def seeds_figures(shown: Seeds) -> list[PageFigure]:
    """Return what a page draws: a series per seed, and the means."""
    series: list[dict[str, Any]] = [
        {
            "name": f"seed {seed}",
            "by_row": True,
            "points": [
                {"x": rounded(arm.values[seed]), "y": place}
                for place, arm in enumerate(shown.arms)
                if seed in arm.values
            ],
        }
        for seed in shown.seeds
    ]
    means = [
        {**page_mark("x", estimate), "y": place + 0.25, "at": place}
        for place, estimate in enumerate(shown.estimates)
    ]
    series.append({"name": "mean", "role": "mean", "points": means})
    return [
        {
            "kind": "xy",
            "title": shown.title,
            "x": page_axis(axis_label(shown.metric), shown.estimates, shown.values),
            "y": {"label": "arm", "names": shown.labels},
            "looks": [shown.looks[arm.label].to_json() for arm in shown.arms],
            "series": series,
        }
    ]


@dataclass(frozen=True)
class SeedsPicture(Picture):
    """Draw every seed of every arm, and their means.

    Examples:
        emabench plot seeds -o seeds.png
        emabench plot seeds --metric throughput -o speed.png
    """

    metric: str = option("top1", "NAME", "A metric, as for compare.")

    places = (7, 5)
    heading = "Every seed"
    caption = "A mark per run; the bars are means with 95 % intervals."
    draw = staticmethod(draw_seeds)
    page_figures = staticmethod(seeds_figures)

    @property
    def metrics(self) -> list[MetricInfo]:
        """The metric."""
        return [parse_metric_of_runs(self.metric)]

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield one for every metric."""
        return (cls(metric.name) for metric in metrics if metric.over == "seeds")

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> Seeds:
        """Gather a metric of every run, in the unit that is shown.

        Raises:
            NotFoundError: no run has it.
        """
        (metric,) = self.metrics
        found, missing = [], []
        for shown in arms.arms:
            known = {
                seed: value
                for seed, run in shown.runs.items()
                if (value := shown_value(metric, run, values)) is not None
            }
            estimate = MeanInterval.of(known.values())
            if estimate is None:
                missing.append(shown.label)
            else:
                found.append(SeedArm(shown.label, known, estimate))
        if not found:
            raise NotFoundError(
                f"no run has {metric.name}", hint="emabench show lists what a run has"
            )
        notes = (*arms.notes, *left_out(f"without {metric.name}", missing))
        return Seeds(metric, tuple(found), arm_looks(arms.arms), notes)
