"""Names of metrics: known ones, blocks, and any other figure with its direction."""

import pytest
from seeding import plan, recorded

from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import parse_metric
from emabench.errors import UnknownNameError, UsageError
from emabench.records import MetricPoint


def test_a_block_reads_the_mean_of_its_series():
    metric = parse_metric("grad_cv:layer4")
    run = recorded(plan())
    assert (metric.series, metric.higher_is_better) == ("grad_norm_cv:layer4", False)
    points = [MetricPoint(1000 * e, e, "grad_norm_cv:layer4", 0.125 * e) for e in (1, 3)]
    measured = MetricValues(points={run.id: points})
    assert measured.value(metric, run) == 0.25
    assert MetricValues().value(metric, run) is None


def test_any_figure_goes_with_its_direction():
    run = recorded(plan(), feature_rank=12.0)
    more, less = parse_metric("max:feature_rank"), parse_metric("min:probe_s")
    assert (more.name, more.kind, more.role, more.higher_is_better) == (
        *("feature_rank", "difference", "monitor", True),
    )
    assert MetricValues().value(more, run) == 12.0
    assert (less.kind, less.role, less.unit, less.higher_is_better) == ("ratio", "cost", "s", False)
    assert parse_metric("min:effective_rank").higher_is_better is False
    assert parse_metric("max:top1") == parse_metric("top1")


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ("min:top1", UsageError, "write top1, or max:top1"),
        ("max:total_s", UsageError, "min:total_s"),
        ("grad_cv", UsageError, "grad_cv:projector"),
        ("min:", UsageError, "min:loss"),
        ("feature_rank", UnknownNameError, "max:feature_rank"),
        ("throughputt", UnknownNameError, "did you mean throughput"),
    ],
)
def test_what_is_no_metric_is_refused_with_a_hint(text, error, hint):
    with pytest.raises(error) as caught:
        parse_metric(text)
    assert hint in caught.value.hint
