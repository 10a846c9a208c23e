"""Where the time goes: the phases of a step, or of a whole run, arm by arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import MeanInterval
from emabench.errors import NotFoundError, UnknownNameError
from emabench.report.figures._arm_looks import ArmLook, arm_looks
from emabench.report.figures._axes import error_bars, name_arms, page_mark, rounded, row_inches
from emabench.report.figures._picture import NOTHING, PageFigure, Picture, left_out, option
from emabench.report.figures._sheet import (
    HATCHES,
    INK,
    interval_in_words,
    new_sheet,
    seeds_in_words,
    shade,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Whole = Literal["step", "run"]

STEP_PHASES = (
    "augment_ms",
    "online_forward_ms",
    "target_forward_ms",
    "loss_ms",
    "backward_ms",
    "optimizer_ms",
    "ema_update_ms",
)
"""Readings of the sampled profile of a step, in the order of the step."""

RUN_PHASES = (
    "init_s",
    "data_prep_s",
    "warmup_s",
    "train_s",
    "probe_s",
    "monitor_s",
    "eval_s",
    "checkpoint_s",
)
"""Phases of a run that do not overlap, in their usual order."""

_PHASES: dict[Whole, tuple[str, ...]] = {"step": STEP_PHASES, "run": RUN_PHASES}
_TOTALS: dict[Whole, str] = {"step": "step_ms", "run": "total_s"}
_UNITS: dict[Whole, str] = {"step": "ms", "run": "s"}


@dataclass(frozen=True)
class CostBar:
    """One arm.

    Attributes:
        label: names the arm.
        n: number of its seeds.
        parts: the mean of each phase that a seed knows, over those seeds.
        total: the whole as it was measured by itself; None is unknown.
    """

    label: str
    n: int
    parts: Mapping[str, float]
    total: MeanInterval | None

    @property
    def rest(self) -> float:
        """The part of the total that no phase accounts for; 0 where the phases are as much."""
        return 0.0 if self.total is None else max(0.0, self.total.mean - sum(self.parts.values()))


@dataclass(frozen=True)
class CostBreakdown:
    """The time of a step in milliseconds, or of a run in seconds, by phase."""

    of: Whole
    bars: tuple[CostBar, ...]
    looks: Mapping[str, ArmLook]
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Of all numbers."""
        return _UNITS[self.of]

    @property
    def total_name(self) -> str:
        """The reading that measures the whole."""
        return _TOTALS[self.of]

    @property
    def title(self) -> str:
        """What is shown, in words."""
        return f"time of a {self.of} by phase"

    @property
    def axis(self) -> str:
        """The unit in words."""
        return "milliseconds a step" if self.of == "step" else "seconds a run"

    @property
    def phases(self) -> list[str]:
        """The phases that an arm knows, in their order."""
        return [name for name in _PHASES[self.of] if any(name in bar.parts for bar in self.bars)]

    @property
    def layers(self) -> list[tuple[str, list[float | None]]]:
        """Every phase in words, with its mean in each arm."""
        return [
            (
                phase.rpartition("_")[0].replace("_", " "),
                [bar.parts.get(phase) for bar in self.bars],
            )
            for phase in self.phases
        ]

    @property
    def rest_name(self) -> str:
        """What the part of the total that no phase accounts for is called."""
        return "in no phase" if self.phases else "phases not measured"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "of": self.of,
            "unit": self.unit,
            "total": self.total_name,
            "phases": self.phases,
            "bars": [{**asdict(bar), "rest": bar.rest} for bar in self.bars],
            "notes": list(self.notes),
        }


def draw_cost(shown: CostBreakdown, *, source: str = "") -> Figure:
    """Draw a bar per arm: its phases one after the other, and the whole as a mark with interval.

    Args:
        shown: what to draw.
        source: where the figures come from, see ``source_line``.
    """
    counts = [bar.n for bar in shown.bars]
    names = [f"{bar.label} (n={bar.n})" for bar in shown.bars]
    sheet = new_sheet(
        9.5,
        max(3.0, 1.0 + row_inches(names) * len(counts)),
        title=f"{shown.title} · {seeds_in_words(counts)}, means over them · "
        + interval_in_words(counts),
        source=source,
    )
    panel = sheet.body.subplots()
    handles, labels = [], []
    ends = [0.0] * len(counts)
    for place, (phase, means) in enumerate(shown.layers):
        look = {"color": shade(place, len(shown.layers)), "hatch": HATCHES[place % len(HATCHES)]}
        handles.append(_stack(panel, ends, [mean or 0.0 for mean in means], look))
        labels.append(phase)
    rests = [bar.rest for bar in shown.bars]
    if any(rests):
        handles.append(_stack(panel, ends, rests, {"color": "white"}))
        labels.append(shown.rest_name)
    measured = [(at, bar.total) for at, bar in enumerate(shown.bars) if bar.total is not None]
    if measured:
        totals = [total for _, total in measured]
        mark = panel.errorbar(
            [total.mean for total in totals],
            [at for at, _ in measured],
            xerr=error_bars(totals),
            fmt="D",
            color=INK,
            markerfacecolor="white",
            markersize=5,
            elinewidth=1.2,
            capsize=3,
        )
        handles.append(mark)
        labels.append(f"{shown.total_name}, measured as a whole")
    panel.set_xlim(left=0)
    name_arms(panel, names, [shown.looks[bar.label] for bar in shown.bars])
    panel.set_xlabel(shown.axis)
    panel.grid(alpha=0.3, axis="x")
    panel.set_axisbelow(True)
    sheet.add_legend(handles, labels, "phase")
    return sheet.figure


def _stack(panel: Axes, ends: list[float], widths: list[float], look: dict[str, Any]) -> Any:
    """Draw one phase of every arm where the one before ended, and move the ends on."""
    bars = panel.barh(
        range(len(ends)), widths, left=ends, height=0.68, edgecolor=INK, linewidth=0.6, **look
    )
    for place, width in enumerate(widths):
        ends[place] += width
    return bars


def cost_figures(shown: CostBreakdown) -> list[PageFigure]:
    """Return what a page draws: a bar per arm, a part per phase."""
    parts: list[dict[str, Any]] = [
        {"name": phase, "values": list(map(rounded, means))} for phase, means in shown.layers
    ]
    rests = [rounded(bar.rest) for bar in shown.bars]
    if any(rests):
        parts.append({"name": shown.rest_name, "rest": True, "values": rests})
    totals = [bar.total for bar in shown.bars]
    return [
        {
            "kind": "bars",
            "title": shown.title,
            "names": [f"{bar.label} (n={bar.n})" for bar in shown.bars],
            "looks": [shown.looks[bar.label].to_json() for bar in shown.bars],
            "x": {"label": shown.axis},
            "unit": shown.unit,
            "parts": parts,
            "total": shown.total_name,
            "totals": [
                None if each is None else [*page_mark("", each).values()] for each in totals
            ],
        }
    ]


@dataclass(frozen=True)
class CostPicture(Picture):
    """Draw where the time goes: the phases of a step, or of whole runs, as stacked bars.

    Examples:
        emabench plot cost -o step.png
        emabench plot cost --of run -o run.png
    """

    of: Whole = option("step", "WHAT", "A step, or the whole run: step or run.")

    places = (4, 4)
    heading = "Where the time goes"
    caption = "Means over seeds; the mark is the measured whole with its 95 % interval."
    has_times = True
    draw = staticmethod(draw_cost)
    page_figures = staticmethod(cost_figures)

    def __post_init__(self) -> None:
        if self.of not in get_args(Whole):
            raise UnknownNameError("whole", self.of, get_args(Whole))

    @classmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield that of a step, and that of a run."""
        return map(cls, get_args(Whole))

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> CostBreakdown:
        """Break the time of each arm down; what no run knows is left out, never 0.

        Raises:
            NotFoundError: no run knows any of it.
        """
        of = self.of
        bars, missing, unbroken = [], [], []
        for shown in arms.arms:
            costs = [run.cost for run in shown.runs.values()]
            names = (*_PHASES[of], _TOTALS[of])
            known = {name: MeanInterval.of(getattr(cost, name) for cost in costs) for name in names}
            total = known.pop(_TOTALS[of])
            parts = {name: each.mean for name, each in known.items() if each is not None}
            if total is None and not parts:
                missing.append(shown.label)
                continue
            if not parts:
                unbroken.append(shown.label)
            bars.append(CostBar(shown.label, len(costs), parts, total))
        if not bars:
            raise NotFoundError(
                f"no run has {_TOTALS[of]} or a phase of it",
                hint="a run of a few steps measures none; --of run draws the phases of whole runs",
            )
        notes = [*arms.notes, *left_out("nothing measured", missing)]
        if len(unbroken) == len(bars):
            notes.append(f"no run has the phases of a {of}: only {_TOTALS[of]} is shown")
        elif unbroken:
            notes.append(f"phases not measured, only {_TOTALS[of]} is shown: {', '.join(unbroken)}")
        return CostBreakdown(of, tuple(bars), arm_looks(arms.arms), tuple(notes))
