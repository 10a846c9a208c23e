"""Margins: differences that count as none, fixed before the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from emabench.analysis.metrics import MetricInfo
from emabench.errors import UnknownNameError, UsageError


def parse_margins(texts: Sequence[str], metrics: Sequence[MetricInfo]) -> dict[str, float]:
    """Read what ``--margin`` takes: ``top1=0.5`` in points, ``throughput=2%`` of a ratio.

    Args:
        texts: one or several of them, each perhaps a comma list.
        metrics: those that are compared.

    Returns:
        By metric: in its unit, or the fraction of a ratio.

    Raises:
        UsageError: no number, none above 0, or not in the way in which the metric is compared.
        UnknownNameError: the metric is not compared.
    """
    known = {metric.name: metric for metric in metrics}
    margins: dict[str, float] = {}
    for text in (part.strip() for each in texts for part in each.split(",")):
        name, equals, number = text.rpartition("=")
        if not equals:
            raise UsageError(f"--margin {text!r} has no '='", hint="for example top1=0.5")
        name = _bare(name.strip())
        if name not in known:
            raise UnknownNameError("metric in --margin", name, known)
        margins[name] = _width(text, number.strip(), known[name])
    return margins


def study_margins(margins: Mapping[str, float], metrics: Iterable[MetricInfo]) -> dict[str, float]:
    """Return those margins of a study that belong to the metrics; of ratios they are fractions."""
    names = {metric.name for metric in metrics}
    return {_bare(name): width for name, width in margins.items() if _bare(name) in names}


def number_of(text: str, what: str, metric: MetricInfo) -> float:
    """Read a number of points, or of per cent where a metric is compared by its ratio.

    Args:
        text: for example ``0.5``, ``-0.5`` or ``5%``.
        what: the whole option, for the error.
        metric: decides on the form.

    Returns:
        The points, or the fraction.

    Raises:
        UsageError: it is no finite number, or in the wrong form.
    """
    is_share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{what}: {text!r} is not a number", hint="for example top1=0.5")
    if is_share and metric.kind == "difference":
        raise UsageError(
            f"{what}: {metric.name} is compared by its difference",
            hint=f"leave out the %: {number:g} is in the unit of {metric.name}",
        )
    if not is_share and metric.kind == "ratio":
        raise UsageError(
            f"{what}: {metric.name} is compared by its ratio", hint=f"write {text}% of the baseline"
        )
    return number / 100 if is_share else number


def _bare(name: str) -> str:
    """Return the name of a metric without the direction that may stand before it."""
    direction, _, rest = name.partition(":")
    return rest if direction in ("min", "max") else name


def _width(text: str, number: str, metric: MetricInfo) -> float:
    width = number_of(number, f"--margin {text}", metric)
    if width <= 0:
        raise UsageError(f"--margin {text}: a margin must be above 0", hint="for example top1=0.5")
    return width
