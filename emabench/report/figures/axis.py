"""How a metric stands on an axis: its unit, and what divides its values."""

from __future__ import annotations

from emabench.analysis.metrics import MetricInfo


def shown_value(metric: MetricInfo, value: float) -> float:
    """Return a stored value in the unit that is shown."""
    return value if metric.shown is None else value / metric.shown[0]


def axis_label(metric: MetricInfo, *, direction: bool = False) -> str:
    """Return the name of a metric with its unit, and which direction is better if wanted."""
    label = f"{metric.name} [{metric.shown_unit}]" if metric.shown_unit else metric.name
    if not direction:
        return label
    return f"{label}, {'higher' if metric.higher_is_better else 'lower'} is better"
