"""How values stand on an axis: units, reach, the names of arms, and the marks of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.statistics import MeanInterval
from emabench.records import RunRecord
from emabench.report.figures._arm_looks import ArmLook

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEYOND = 1.5
"""An interval is shown as far as so many times the distance of the outermost means beyond them."""
_TWO_SEEDS = 4.303 / 12.706
"""An interval of two seeds is shown as far as that of three with the same standard error reaches:
these are Student's t of 0.975 with two degrees of freedom and with one."""
_EDGE = 0.03
"""Of the axis, so that no mark lies on its end."""
_NAME_COLUMNS = 40
_NAME_POINTS, _NAME_LINE = 8.0, 0.135
"""Size of the names of arms, and inches of one of their lines."""
_ROW_INCHES = 0.36
_DIGITS = 7
_MOST_POINTS = 60
"""Of a curve on a page: more than that nobody sees apart."""


def shown_value(metric: MetricInfo, run: RunRecord, values: MetricValues) -> float | None:
    """Return what a run reached, in the unit that is shown; None where it is unknown."""
    value = values.value(metric, run)
    return value if value is None or metric.shown is None else value / metric.shown[0]


def mean_shown(metric: MetricInfo, values: Iterable[float]) -> MeanInterval | None:
    """Return the mean of what runs reached; without an interval where seeds have none, of benches.

    Args:
        metric: which.
        values: of an arm, one per seed, in the unit that is shown.
    """
    found = MeanInterval.of(values)
    if found is None or metric.over == "seeds":
        return found
    return replace(found, low=None, high=None)


def axis_label(metric: MetricInfo, *, direction: bool = False) -> str:
    """Return the name of a metric with its unit, and which direction is better if wanted."""
    label = f"{metric.name} [{metric.shown_unit}]" if metric.shown_unit else metric.name
    if not direction:
        return label
    return f"{label}, {'higher' if metric.higher_is_better else 'lower'} is better"


def bounds(
    estimates: Sequence[MeanInterval], values: Iterable[float] = ()
) -> tuple[float, float] | None:
    """Return between which values intervals are shown; None where all of them fit.

    With two seeds Student's t makes an interval of 13 standard errors to each side, beside which no
    difference of means would be seen. What is typical of the other intervals always fits.

    Args:
        estimates: that are shown.
        values: single values that are shown too.
    """
    centres = [*(each.mean for each in estimates), *values]
    spans = [span for each in estimates if (span := _span(each)) is not None]
    if not centres or not spans:
        return None
    least, most = min(centres), max(centres)
    beyond = _BEYOND * max(most - least, median(high - low for low, high in spans))
    low = max(least - beyond, min(least, *(low for low, _ in spans)))
    high = min(most + beyond, max(most, *(high for _, high in spans)))
    fits = all(
        low <= end <= high for each in estimates for end in (each.low, each.high) if end is not None
    )
    if fits or low == high:
        return None
    edge = _EDGE * (high - low)
    return low - edge, high + edge


def _span(estimate: MeanInterval) -> tuple[float, float] | None:
    """Return between which values an interval should be seen; None without an interval."""
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if low is None or high is None:
        return None
    if estimate.n > 2:
        return low, high
    return mean - _TWO_SEEDS * (mean - low), mean + _TWO_SEEDS * (high - mean)


def error_bars(estimates: Sequence[MeanInterval]) -> list[list[float]]:
    """Return the lengths of the intervals below and above some means; 0 without an interval."""
    lows = [0.0 if each.low is None else each.mean - each.low for each in estimates]
    highs = [0.0 if each.high is None else each.high - each.mean for each in estimates]
    return [lows, highs]


def neighbours(places: Sequence[int]) -> Iterator[list[int]]:
    """Yield the stretches of ascending places that follow each other, which lines may join."""
    stretch = list(places[:1])
    for one, other in pairwise(places):
        if other != one + 1:
            yield stretch
            stretch = []
        stretch.append(other)
    if stretch:
        yield stretch


def row_inches(labels: Iterable[str]) -> float:
    """Return the height of the row of an arm, so that each of its names has room."""
    lines = max((name.count("\n") + 1 for name in map(_broken, labels)), default=1)
    return max(_ROW_INCHES, 0.09 + _NAME_LINE * lines)


def name_arms(panel: Axes, labels: Sequence[str], looks: Sequence[ArmLook]) -> None:
    """Write the names of arms along the left side, one below the other, the first one on top.

    Args:
        panel: where.
        labels: of the arms.
        looks: of the arms, in the same order; the mark of each stands between its name and row.
    """
    from matplotlib.transforms import ScaledTranslation

    name_rows(panel, labels, range(len(labels)))
    panel.tick_params(axis="y", pad=14)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    beside = ScaledTranslation(-11 / 72, 0, panel.get_figure().dpi_scale_trans)  # type: ignore[union-attr]
    place = panel.get_yaxis_transform() + beside
    for row, look in enumerate(looks):
        panel.plot(
            [0.0],
            [row],
            marker=look.marker,
            color=look.shade,
            markersize=5,
            transform=place,
            clip_on=False,
        )


def name_rows(panel: Axes, names: Iterable[str], places: Sequence[float]) -> None:
    """Write the names of rows along the left side, each at its place."""
    panel.set_yticks(places, list(map(_broken, names)), fontsize=_NAME_POINTS)


def _broken(label: str) -> str:
    return textwrap.fill(label, _NAME_COLUMNS)


def page_axis(
    label: str, estimates: Sequence[MeanInterval], values: Iterable[float] = ()
) -> dict[str, Any]:
    """Return an axis of a page; with its range, if intervals reach beyond it."""
    between = bounds(estimates, values)
    if between is None:
        return {"label": label}
    return {"label": label, "range": [rounded(end) for end in between]}


def page_mark(axis: str, estimate: MeanInterval) -> dict[str, float | None]:
    """Return where a mean and the ends of its interval stand on an axis of a page."""
    return {
        axis: rounded(estimate.mean),
        f"{axis}low": rounded(estimate.low),
        f"{axis}high": rounded(estimate.high),
    }


def rounded(value: float | None) -> float | None:
    """Cut what no eye sees, so that a page stays small."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def thinned(points: Sequence[Any]) -> Sequence[Any]:
    """Return as many points of a curve as can be seen, spread evenly, first and last included."""
    last = len(points) - 1
    if last < _MOST_POINTS:
        return points
    places = {round(step * last / (_MOST_POINTS - 1)) for step in range(_MOST_POINTS)}
    return [points[place] for place in sorted(places)]
