"""Gates and margins: what they take, what they refuse, and when a gate fails."""

import pytest
from seeding import plan, recorded

from emabench.analysis.comparison import compare
from emabench.analysis.gate import check, parse_rules
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.question import parse_margins
from emabench.errors import UnknownNameError, UsageError


@pytest.fixture
def comparison():
    arms = {"full": (61.0, 1000.0), "projector": (60.5, 900.0)}
    runs = [
        recorded(plan(ema_scope=scope, seed=seed), top1=top1, throughput=speed, loss=1.0 + seed)
        for scope, (top1, speed) in arms.items()
        for seed in range(3)
    ]
    return compare(runs, parse_metrics("top1,throughput,energy,min:loss"))


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ("top1:-0.4", False),
        ("top1:-0.5", True),
        ("top1:-0.6", True),
        ("top1:+0.1", True),
        ("throughput:-9%", False),
        ("throughput:-11%", True),
        ("throughput:+1%", True),
        ("min:loss:+0.1", True),
        ("energy:+5%", False),
    ],
)
def test_a_gate_fails_beyond_its_bound_or_where_nothing_is_known(comparison, rule, passed):
    (result,) = check(comparison, parse_rules([rule]))
    assert (result.rule, result.label, result.passed) == (rule, "projector", passed)
    assert result.words.startswith(f"{rule}: projector ")
    assert (result.change is None) == rule.startswith("energy")


def test_the_words_of_a_gate_hold_the_change_its_interval_and_n(comparison):
    first, second = check(comparison, parse_rules(["top1:-0.4", "throughput:-5%"]))
    assert first.words == "top1:-0.4: projector -0.50 [-0.50, -0.50], n=3"
    assert second.words == "throughput:-5%: projector -10.00 %, ratio 0.900 [0.900, 0.900], n=3"


def test_every_arm_is_checked_and_none_is_a_failure():
    runs = [recorded(plan(ema_scope="full", seed=seed)) for seed in range(3)]
    (result,) = check(compare(runs, parse_metrics("top1")), parse_rules(["top1:-1"]))
    assert (result.passed, result.words) == (False, "top1:-1: there is no arm to compare")


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        ("top1", UsageError, "has no bound"),
        ("top1:0.5", UsageError, "needs a sign"),
        ("top1:-5%", UsageError, "compared by its difference"),
        ("throughput:-5", UsageError, "compared by its ratio"),
        ("top1:-x", UsageError, "not a number"),
        ("top1:-inf", UsageError, "not a number"),
        ("topp1:-1", UnknownNameError, "unknown metric"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule, error, words):
    with pytest.raises(error, match=words) as caught:
        parse_rules([rule])
    assert caught.value.hint


def test_margins_are_points_or_shares():
    metrics = parse_metrics("top1,throughput,grad_cv:projector")
    found = parse_margins(["top1=0.5,throughput=2%", "grad_cv:projector=0.1"], metrics)
    assert found == {"top1": 0.5, "throughput": 0.02, "grad_cv:projector": 0.1}
    assert parse_margins(["min:loss=0.2"], parse_metrics("min:loss")) == {"loss": 0.2}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("top1", UsageError, "has no '='"),
        ("top1=", UsageError, "not a number"),
        ("top1=0", UsageError, "above 0"),
        ("top1=-1", UsageError, "above 0"),
        ("top1=1%", UsageError, "difference"),
        ("throughput=1", UsageError, "ratio"),
        ("top5=1", UnknownNameError, "unknown metric in --margin"),
    ],
)
def test_a_margin_that_means_nothing_is_refused(text, error, words):
    with pytest.raises(error, match=words) as caught:
        parse_margins([text], parse_metrics("top1,throughput"))
    assert caught.value.hint
