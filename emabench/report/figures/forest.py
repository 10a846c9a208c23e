"""What each arm changes against its baseline: a panel per metric, a mark per arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from emabench.analysis.arms import SCOPE, Arm, arm_labels, differing_fields
from emabench.analysis.compared_arms import ArmRow
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.question import Asked
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError
from emabench.report.figures._arm_looks import ArmLook, arm_looks, looks_of
from emabench.report.figures._axes import (
    bounds,
    error_bars,
    name_rows,
    page_axis,
    page_mark,
    row_inches,
)
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, left_out, option
from emabench.report.figures._sheet import (
    GREY,
    INK,
    height_with_legend,
    new_sheet,
    seeds_in_words,
)
from emabench.table import show_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _MOST_WIDTH = 8.5, 14.0
_PANEL = 3.2
"""Inches: of the sheet with one panel, at most, and of each further panel."""
_MARK, _GAP = 0.15, 0.12
"""Inches from one mark of a row to the next, and between rows."""
_PAGE_ROW, _PAGE_MARK = 28, 17
"""Pixels of a page: the height of a row at least, and for each mark."""
_SPREAD = 0.72
"""Of the height of a row on a page, for its marks."""


@dataclass(frozen=True)
class ArmChange:
    """What one arm changes.

    Attributes:
        label: names the arm.
        series: what tells it from the other arms of its row.
        changes: by metric, the mean of the pairs in the unit that is shown, or of ratios as such.
    """

    label: str
    series: str
    changes: Mapping[str, MeanInterval]


@dataclass(frozen=True)
class ForestRow:
    """One arm; or all that have one baseline, whose name the row has then."""

    name: str
    arms: tuple[ArmChange, ...]


@dataclass(frozen=True)
class Forest:
    """The changes of all arms.

    Attributes:
        factor: the field whose values are compared.
        baseline: its value that the others are compared with.
        interval: what the bars are, in words.
        metrics: one panel each.
        margins: by metric, as far as there are any.
        rows: at least one.
        looks: by series.
        notes: what the reader must know.
    """

    factor: str
    baseline: str
    interval: str
    metrics: tuple[MetricInfo, ...]
    margins: Mapping[str, float]
    rows: tuple[ForestRow, ...]
    looks: Mapping[str, ArmLook]
    notes: tuple[str, ...] = ()

    @property
    def against(self) -> str:
        """What the arms are compared with, in words."""
        return f"{self.factor} {self.baseline}"

    @property
    def names(self) -> list[str]:
        """Those of the rows."""
        return [row.name for row in self.rows]

    @property
    def needs_legend(self) -> bool:
        """Whether rows hold several arms, which only their looks tell apart."""
        return self.names != list(self.looks)

    def marks(self, metric: MetricInfo) -> list[_Mark]:
        """Return the arms whose change in a metric is known, row by row."""
        return [
            _Mark(number, place - (len(row.arms) - 1) / 2, len(row.arms), arm.series, estimate)
            for number, row in enumerate(self.rows)
            for place, arm in enumerate(row.arms)
            if (estimate := arm.changes.get(metric.name)) is not None
        ]

    def axis_label(self, metric: MetricInfo) -> str:
        """Return what a panel shows, and which direction is better."""
        better = "higher" if metric.higher_is_better else "lower"
        if metric.kind == "ratio":
            return f"{metric.name} / {self.baseline}, {better} is better"
        unit = "points" if metric.shown_unit == "%" else metric.shown_unit
        in_unit = f" [{unit}]" if unit else ""
        return f"{metric.name} - {self.baseline}{in_unit}, {better} is better"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "by": self.factor,
            "baseline": self.baseline,
            "interval": self.interval,
            "metrics": [
                {"name": m.name, "kind": m.kind, "unit": m.shown_unit} for m in self.metrics
            ],
            "margins": dict(self.margins),
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Mark:
    """Where an arm stands: its row, how many marks below the middle of it, and of how many."""

    row: int
    beside: float
    of: int
    series: str
    estimate: MeanInterval


def draw_forest(shown: Forest, *, source: str = "") -> Figure:
    """Draw a panel per metric: a row per arm or baseline, a mark and an interval per arm.

    Args:
        shown: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    heights = [max(row_inches([r.name]), _MARK * len(r.arms)) + _GAP for r in shown.rows]
    middles = [sum(heights[:number]) + own / 2 for number, own in enumerate(heights)]
    legend = list(shown.looks) if shown.needs_legend else []
    width = min(_MOST_WIDTH, _WIDTH + _PANEL * (len(shown.metrics) - 1))
    marks = {metric: shown.marks(metric) for metric in shown.metrics}
    reaches = {m: bounds([e.estimate for e in own], [_no_change(m)]) for m, own in marks.items()}
    over_seeds = [own for metric, own in marks.items() if metric.over == "seeds"]
    counts = [mark.estimate.n for own in over_seeds for mark in own]
    seeds = seeds_in_words(counts) if counts else "no pair of seeds"
    cut = "; those at the edge reach beyond it" if any(reaches.values()) else ""
    sheet = new_sheet(
        width,
        height_with_legend(0.9 + sum(heights), legend, width),
        title=f"change against {shown.against} · {seeds} · {shown.interval}{cut}",
        source=source,
    )
    panels = sheet.body.subplots(1, len(shown.metrics), sharey=True, squeeze=False)[0]
    handles: dict[str, Any] = {}
    for panel, (metric, own) in zip(panels, marks.items(), strict=True):
        _draw_margin(panel, metric, shown.margins.get(metric.name))
        handles |= _draw_marks(panel, own, middles, shown.looks)
        panel.set_xlabel(shown.axis_label(metric), fontsize=9)
        panel.grid(alpha=0.3, axis="x")
        if reaches[metric] is not None:
            panel.set_xlim(reaches[metric])
    name_rows(panels[0], shown.names, middles)
    panels[0].set_ylim(sum(heights), 0)
    if legend:
        sheet.add_legend([handles[name] for name in legend], legend, "arm")
    return sheet.figure


def _no_change(metric: MetricInfo) -> float:
    return 1.0 if metric.kind == "ratio" else 0.0


def _draw_margin(panel: Axes, metric: MetricInfo, margin: float | None) -> None:
    """Draw where nothing changes, and how far from it that still counts as nothing."""
    if margin is not None:
        ends = (1 / (1 + margin), 1 + margin) if metric.kind == "ratio" else (-margin, margin)
        panel.axvspan(*ends, color=GREY, alpha=0.2, linewidth=0)
    panel.axvline(_no_change(metric), color=INK, linewidth=1)


def _draw_marks(
    panel: Axes, marks: Sequence[_Mark], middles: Sequence[float], looks: Mapping[str, ArmLook]
) -> dict[str, Any]:
    """Draw the changes in a metric; return the marks by series."""
    handles = {}
    for name, look in looks.items():
        own = [mark for mark in marks if mark.series == name]
        handles[name] = panel.errorbar(
            [mark.estimate.mean for mark in own],
            [middles[mark.row] + _MARK * mark.beside for mark in own],
            xerr=error_bars([mark.estimate for mark in own]),
            fmt=look.marker,
            color=look.shade,
            markersize=6,
            elinewidth=1.3,
            capsize=2.5,
            zorder=3,
        )
    return handles


def forest_figures(shown: Forest) -> list[PageFigure]:
    """Return what a page draws: a figure per metric, a series per kind of arm."""
    figures: list[PageFigure] = []
    row = max(_PAGE_ROW, _PAGE_MARK * max(len(row.arms) for row in shown.rows))
    for metric in shown.metrics:
        marks = shown.marks(metric)
        series = [
            {
                "name": name,
                "look": look.to_json(),
                "points": [
                    {
                        **page_mark("x", mark.estimate),
                        "y": mark.row + _SPREAD * mark.beside / mark.of,
                        "at": mark.row,
                        "n": mark.estimate.n,
                    }
                    for mark in marks
                    if mark.series == name
                ],
            }
            for name, look in shown.looks.items()
        ]
        reach = page_axis(
            shown.axis_label(metric), [mark.estimate for mark in marks], [_no_change(metric)]
        )
        figures.append(
            {
                "kind": "xy",
                "title": f"{metric.name}: change against {shown.against}",
                "x": {**reach, "line": _no_change(metric)},
                "y": {"label": "arm", "names": shown.names, "row": row},
                "series": [each for each in series if each["points"]],
            }
        )
    return figures


@dataclass(frozen=True)
class ForestPicture(Picture):
    """Draw what each arm changes against its baseline, and what it costs: a forest plot.

    The figures are those of 'emabench compare': seeds in pairs, and of a study with planned looks
    the interval of the look. The grey band is the margin.

    Examples:
        emabench plot forest -o forest.png
        emabench plot forest --metric top1,bench_step_ms --margin top1=1 -o forest.pdf
    """

    metric: str | None = option(None, "NAMES", "Metrics, as for compare; a panel each.")
    by: str | None = option(None, "FIELD", "What is compared, as for compare.")
    baseline: str | None = option(None, "VALUE", "With what, as for compare.")
    margin: str | None = option(None, "METRIC=WIDTH", "A change within it is none, as for compare.")

    places = (2, 2)
    heading = "Change against the baseline"
    caption = (
        "Means over the pairs of seeds with 95 % intervals, as in the table; where an interval "
        "crosses the line, the sign of the change is open."
    )
    names_arms = False
    draw = staticmethod(draw_forest)
    page_figures = staticmethod(forest_figures)

    @property
    def asked(self) -> Asked:
        """The comparison that is drawn."""
        margin = () if self.margin is None else (self.margin,)
        return Asked(self.metric, self.by, self.baseline, margin)

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield it: a page has one comparison."""
        return iter([cls()])

    def gather_comparison(
        self, comparison: ArmComparison, values: MetricValues = NOTHING
    ) -> Forest:
        """Put the arms of each baseline into a row; where there is one, each arm is a row.

        Raises:
            NotFoundError: no arm is compared with another.
        """
        arms = comparison.arms.arms
        changes = [_changes(row, comparison) for row in comparison.rows]
        groups: dict[int, list[int]] = defaultdict(list)
        lacking = []
        for place, row in enumerate(comparison.rows):
            if row.reference is not None and changes[place]:
                groups[row.reference].append(place)
            elif row.reference is not None:
                lacking.append(row.label)
        if not groups:
            raise NotFoundError(
                "no arm is compared with another: there is no change to draw",
                hint="'emabench compare' says what is lacking; --baseline takes another",
            )
        if len(groups) == 1:
            (places,) = groups.values()
            names = [arms[place].label for place in places]
            members = [[(place, name)] for place, name in zip(places, names, strict=True)]
            looks = {name: look for name, look in arm_looks(arms).items() if name in names}
        else:
            baselines = [arms[place] for place in groups]
            named = comparison.factor.path != SCOPE  # elsewhere the title has it
            names = arm_labels(baselines, differing_fields(baselines), with_scope=named)
            members = [
                list(zip(places, _series(arms, baseline, places), strict=True))
                for baseline, places in groups.items()
            ]
            looks = looks_of(list(dict.fromkeys(name for row in members for _, name in row)))
        rows = [
            ForestRow(
                name,
                tuple(ArmChange(arms[place].label, own, changes[place]) for place, own in row),
            )
            for name, row in zip(names, members, strict=True)
        ]
        return Forest(
            comparison.factor.name,
            show_value(comparison.baseline),
            _interval_in_words(comparison),
            comparison.metrics,
            comparison.margins,
            tuple(rows),
            looks,
            (*comparison.notes, *left_out("without a pair", lacking)),
        )


def _changes(row: ArmRow, comparison: ArmComparison) -> dict[str, MeanInterval]:
    """Return what an arm changes, by metric, as far as it is known."""
    found = {}
    for metric in comparison.metrics:
        paired = row.metrics[metric.name].baseline
        if paired is not None:
            unit = 1.0 if metric.kind == "ratio" or metric.shown is None else metric.shown[0]
            low, high = (None if e is None else e / unit for e in (paired.low, paired.high))
            found[metric.name] = MeanInterval(paired.value / unit, low, high, paired.n)
    return found


def _series(arms: Sequence[Arm], reference: int, others: Sequence[int]) -> list[str]:
    """Return what tells the arms that have one baseline from it, and from each other."""
    group = [arms[place] for place in (reference, *others)]
    return arm_labels(group, differing_fields(group))[1:]


def _interval_in_words(comparison: ArmComparison) -> str:
    """Return what the bars are: of which look, if looks were planned."""
    steps = [metric.name for metric in comparison.metrics if metric.over == "steps"]
    more = f"; of {', '.join(steps)}: 95 % over steps" if steps else ""
    paired = [
        cell.baseline
        for row in comparison.rows
        for name, cell in row.metrics.items()
        if name not in steps
    ]
    if all(each is None or each.low is None for each in paired):
        return f"no interval over seeds yet{more}" if steps else "no interval yet"
    looks = {each.look.number for each in paired if each is not None and each.look is not None}
    looks -= {0}
    if looks:
        numbers = " and ".join(map(str, sorted(looks)))
        return f"bars: interval of planned look {numbers}, over the pairs of seeds{more}"
    words = {"anytime": " at any time", "bca": ", bootstrapped"}.get(comparison.interval, " (t)")
    return f"bars: 95 % interval over the pairs of seeds{words}{more}"
