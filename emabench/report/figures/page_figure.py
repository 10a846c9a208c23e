"""Pictures as plain values that a page draws: marks, lines and bars with their axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from emabench.analysis.stability import ArmStability, Stability
from emabench.analysis.statistics import MeanInterval
from emabench.report.figures.axis import axis_label
from emabench.report.figures.blocks_data import BlockAccuracies
from emabench.report.figures.cost_data import CostBreakdown
from emabench.report.figures.curves_data import Curves
from emabench.report.figures.pareto_data import Pareto
from emabench.report.figures.reach import bounds
from emabench.report.figures.seeds_data import Seeds

Figure = dict[str, Any]
"""``kind``, ``title``, ``x`` and ``y`` axes (``label``; ``names`` of places where there are any)
and ``series``, or of bars ``names``, ``parts`` and ``totals``."""

_DIGITS = 7
_MOST_POINTS = 60
"""Of a curve: more than that nobody sees apart."""


def pareto_figure(shown: Pareto) -> Figure:
    """Return accuracy against cost: a series per arm, and the front."""
    series = [
        {
            "name": f"{point.label} (n={point.value.n})",
            "hollow": not point.on_front,
            "points": [_point(point.cost, point.value)],
        }
        for point in shown.points
    ]
    if len(shown.front) > 1:
        front = [_point(point.cost, point.value, bars=False) for point in shown.front]
        steps = "pre" if shown.cost.higher_is_better else "post"
        series.append({"name": "Pareto front", "role": "front", "steps": steps, "points": front})
    return {
        "kind": "xy",
        "title": f"{shown.metric.name} against {shown.cost.name}",
        "x": _axis(axis_label(shown.cost, direction=True), [p.cost for p in shown.points]),
        "y": _axis(axis_label(shown.metric, direction=True), [p.value for p in shown.points]),
        "series": series,
    }


def curve_figures(shown: Curves) -> list[Figure]:
    """Return a metric against epochs, and against the time of training where that is known."""
    by_epoch = [_course(c.label, c.n, c.points, lambda p: float(p.epoch)) for c in shown.courses]
    timed = [course for course in shown.courses if course.is_timed]
    by_time = [_course(c.label, c.n, c.points, lambda p: p.seconds) for c in timed]
    figures = [("epoch", by_epoch)]
    figures += [("time of training [s]", by_time)] if timed else []
    return [
        {
            "kind": "xy",
            "title": f"{shown.metric} against {axis.partition(' [')[0]}",
            "x": {"label": axis, "whole": axis == "epoch"},
            "y": _axis(shown.axis, [p.value for c in shown.courses for p in c.points]),
            "series": series,
        }
        for axis, series in figures
    ]


def cost_figure(shown: CostBreakdown) -> Figure:
    """Return the time of a step or run: a bar per arm, a part per phase."""
    parts: list[dict[str, Any]] = [
        {
            "name": phase.rpartition("_")[0].replace("_", " "),
            "values": [_round(bar.parts.get(phase)) for bar in shown.bars],
        }
        for phase in shown.phases
    ]
    rests = [_round(bar.rest) for bar in shown.bars]
    if any(rests):
        name = "in no phase" if shown.phases else "phases not measured"
        parts.append({"name": name, "rest": True, "values": rests})
    return {
        "kind": "bars",
        "title": f"time of a {shown.of} by phase",
        "names": [f"{bar.label} (n={bar.n})" for bar in shown.bars],
        "x": {"label": "milliseconds a step" if shown.of == "step" else "seconds a run"},
        "unit": shown.unit,
        "parts": parts,
        "total": shown.total_name,
        "totals": [None if bar.total is None else _span(bar.total) for bar in shown.bars],
    }


def seeds_figure(shown: Seeds) -> Figure:
    """Return every seed of every arm: a series per seed, and the means."""
    series: list[dict[str, Any]] = [
        {
            "name": f"seed {seed}",
            "points": [
                {"x": _round(arm.values[seed]), "y": place}
                for place, arm in enumerate(shown.arms)
                if seed in arm.values
            ],
        }
        for seed in shown.seeds
    ]
    means = [
        {
            "x": _round(arm.estimate.mean),
            "xlow": _round(arm.estimate.low),
            "xhigh": _round(arm.estimate.high),
            "y": place + 0.25,
            "at": place,
        }
        for place, arm in enumerate(shown.arms)
    ]
    series.append({"name": "mean", "role": "mean", "points": means})
    names = [f"{arm.label} (n={arm.estimate.n})" for arm in shown.arms]
    return {
        "kind": "xy",
        "title": f"{shown.metric.name} of every seed",
        "x": _axis(
            axis_label(shown.metric),
            [arm.estimate for arm in shown.arms],
            [value for arm in shown.arms for value in arm.values.values()],
        ),
        "y": {"label": "arm", "names": names},
        "series": series,
    }


def block_figures(shown: BlockAccuracies) -> list[Figure]:
    """Return a metric by averaged block, one figure per panel."""
    figures = []
    words = (
        ("single", "this block alone", True),
        ("onward", "this block and all that follow", True),
        ("others", "this scope", False),
    )
    for panel in shown.panels:
        series = []
        for name, text, joined in words:
            estimates: Mapping[str, MeanInterval] = getattr(panel, name)
            points = [
                {"x": place, **_upright(estimates[block]), "n": estimates[block].n}
                for place, block in enumerate(shown.places)
                if block in estimates
            ]
            if points:
                series.append({"name": text, "line": joined, "points": points})
        lines = [
            {"name": f"nothing ({label})", **_upright(estimate), "n": estimate.n}
            for label, estimate in panel.without.items()
        ]
        figures.append(
            {
                "kind": "xy",
                "title": " ".join(filter(None, (panel.title, "by averaged block"))),
                "x": {"label": "averaged block", "names": list(shown.places)},
                "y": _axis(axis_label(shown.metric), panel.estimates),
                "series": series,
                "lines": lines,
            }
        )
    return figures


def stability_figure(shown: Stability, arm: ArmStability) -> Figure:
    """Return how the gradient fluctuates in one arm: a series per block."""
    series = []
    for course in arm.blocks:
        points = [
            {
                "x": epoch,
                "y": _round(spread.mean),
                "ylow": None if spread.sd is None else _round(spread.mean - spread.sd),
                "yhigh": None if spread.sd is None else _round(spread.mean + spread.sd),
            }
            for epoch, spread in _thinned(list(course.epochs.items()))
        ]
        series.append({"name": course.block, "line": True, "band": True, "points": points})
    return {
        "kind": "xy",
        "title": f"{shown.quantity} at the blocks, {arm.label} (n={len(arm.runs)})",
        "x": {"label": "epoch", "whole": True},
        "y": {"label": f"{shown.quantity}, band: ± 1 sd"},
        "series": series,
    }


def _axis(
    label: str, estimates: Sequence[MeanInterval], values: Iterable[float] = ()
) -> dict[str, Any]:
    """Return an axis; with its range, if intervals reach beyond it."""
    between = bounds(estimates, values)
    if between is None:
        return {"label": label}
    return {"label": label, "range": [_round(end) for end in between]}


def _course(
    label: str, n: int, points: Sequence[Any], place: Callable[[Any], float | None]
) -> dict[str, Any]:
    shown = [{"x": _round(place(p)), **_upright(p.value)} for p in _thinned(points)]
    return {"name": f"{label} (n={n})", "line": True, "band": True, "points": shown}


def _thinned(points: Sequence[Any]) -> Iterable[Any]:
    """Return at most so many points, evenly, the first and the last among them."""
    last = len(points) - 1
    if last < _MOST_POINTS:
        return points
    places = {round(step * last / (_MOST_POINTS - 1)) for step in range(_MOST_POINTS)}
    return [points[place] for place in sorted(places)]


def _point(x: MeanInterval, y: MeanInterval, *, bars: bool = True) -> dict[str, Any]:
    if not bars:
        return {"x": _round(x.mean), "y": _round(y.mean)}
    across = {"xlow": _round(x.low), "xhigh": _round(x.high)}
    return {"x": _round(x.mean), **across, **_upright(y)}


def _upright(estimate: MeanInterval) -> dict[str, Any]:
    return {
        "y": _round(estimate.mean),
        "ylow": _round(estimate.low),
        "yhigh": _round(estimate.high),
    }


def _span(estimate: MeanInterval) -> list[float | None]:
    return [_round(estimate.mean), _round(estimate.low), _round(estimate.high)]


def _round(value: float | None) -> float | None:
    """Cut what no eye sees, so that the page stays small."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")
