"""Gates for continuous integration: how far a metric may move away from the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emabench.analysis.compared_arms import ArmRow
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.metrics import MetricInfo, number_of, parse_metric
from emabench.analysis.verdicts import paired_in_words
from emabench.errors import UsageError

_EXAMPLE = "for example --fail-if 'top1:-0.5' or --fail-if 'throughput:-5%'"


@dataclass(frozen=True)
class Rule:
    """A gate fails if a metric moves further than ``bound`` in the direction of its sign.

    Attributes:
        text: as it was given.
        metric: which.
        bound: the difference, or the change of a ratio as a fraction; never 0.
    """

    text: str
    metric: MetricInfo
    bound: float


@dataclass(frozen=True)
class GateResult:
    """What became of one rule for one arm.

    Attributes:
        rule: as it was given.
        label: of the arm.
        passed: whether the change is within the bound; False also where nothing was compared.
        change: the difference, or the change of the ratio as a fraction; None is unknown.
        words: the result, one line.
    """

    rule: str
    label: str
    passed: bool
    change: float | None
    words: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return vars(self).copy()


def parse_rules(texts: Sequence[str]) -> list[Rule]:
    """Read what ``--fail-if`` takes: ``top1:-0.5``, ``throughput:-5%``, ``total_s:+10%``.

    Raises:
        UsageError: there is no bound, or it has no sign.
        UnknownNameError: there is no such metric.
    """
    rules = []
    for text in texts:
        name, colon, bound = text.rpartition(":")
        if not colon or not name:
            raise UsageError(f"--fail-if {text!r} has no bound", hint=_EXAMPLE)
        if bound.strip()[:1] not in ("+", "-"):
            raise UsageError(
                f"--fail-if {text!r}: the bound needs a sign, - for a fall and + for a rise",
                hint=_EXAMPLE,
            )
        metric = parse_metric(name.strip())
        number = number_of(bound.strip(), f"--fail-if {text}", metric)
        rules.append(Rule(text, metric, number))
    return rules


def check(comparison: ArmComparison, rules: Sequence[Rule]) -> list[GateResult]:
    """Hold every arm against every rule.

    The mean change counts, not its interval: a gate that few seeds can pass or fail by chance is
    made safer by more seeds. Where nothing could be compared a rule fails.
    """
    compared = [row for row in comparison.rows if not row.is_baseline]
    if not compared:
        return [
            GateResult(rule.text, "", False, None, f"{rule.text}: there is no arm to compare")
            for rule in rules
        ]
    return [_check(row, rule) for rule in rules for row in compared]


def _check(row: ArmRow, rule: Rule) -> GateResult:
    paired = row.metrics[rule.metric.name].baseline
    if paired is None:
        words = f"{rule.text}: {row.label} could not be compared"
        return GateResult(rule.text, row.label, False, None, words)
    change = paired.value - 1 if paired.kind == "ratio" else paired.value
    passed = change >= rule.bound if rule.bound < 0 else change <= rule.bound
    numbers = paired_in_words(paired, rule.metric)
    shown = f"{100 * change:+.2f} %, ratio {numbers}" if paired.kind == "ratio" else numbers
    words = f"{rule.text}: {row.label} {shown}, n={paired.n}"
    return GateResult(rule.text, row.label, passed, change, words)
