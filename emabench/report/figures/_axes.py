"""How values stand on an axis: units, reach, the names of arms, and the marks of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.statistics import MeanInterval
from emabench.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEYOND = 1.5
"""An interval is shown as far as so many times the distance of the outermost means beyond them."""
_NAME_COLUMNS = 34
_DIGITS = 7
_MOST_POINTS = 60
"""Of a curve on a page: more than that nobody sees apart."""


def shown_value(metric: MetricInfo, run: RunRecord, values: MetricValues) -> float | None:
    """Return what a run reached, in the unit that is shown; None where it is unknown."""
    value = values.value(metric, run)
    return value if value is None or metric.shown is None else value / metric.shown[0]


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
    difference of means would be seen.

    Args:
        estimates: that are shown.
        values: single values that are shown too.
    """
    centres = [*(each.mean for each in estimates), *values]
    ends = [end for each in estimates for end in (each.low, each.high) if end is not None]
    if not centres or not ends:
        return None
    least, most = min(centres), max(centres)
    beyond = _BEYOND * (most - least)
    if not beyond or (min(ends) >= least - beyond and max(ends) <= most + beyond):
        return None
    return max(least - beyond, min(*ends, least)), min(most + beyond, max(*ends, most))


def error_bars(estimates: Sequence[MeanInterval]) -> list[list[float]]:
    """Return the lengths of the intervals below and above some means; 0 without an interval."""
    lows = [0.0 if each.low is None else each.mean - each.low for each in estimates]
    highs = [0.0 if each.high is None else each.high - each.mean for each in estimates]
    return [lows, highs]


def name_arms(panel: Axes, labels: Sequence[str]) -> None:
    """Write the names of arms along the left side, one below the other, the first one on top."""
    names = [textwrap.fill(label, _NAME_COLUMNS) for label in labels]
    fit = all(name.count("\n") < 2 for name in names)
    panel.set_yticks(range(len(names)), names, fontsize=8 if fit else 6)
    panel.set_ylim(len(names) - 0.4, -0.6)


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
