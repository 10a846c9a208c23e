"""The question of a comparison, as asked and complete, and its margins, fixed before the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import cast, get_args

from emabench.analysis.comparison import ArmComparison, compare
from emabench.analysis.factor import EMA_SCOPE, Factor
from emabench.analysis.gate import Rule, parse_rules
from emabench.analysis.looking.looks import Looks
from emabench.analysis.looking.said_of_looks import said_of_plan
from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.metrics import MetricInfo, number_of, parse_metrics
from emabench.analysis.statistics import Interval
from emabench.errors import NotFoundError, UnknownNameError, UsageError
from emabench.records import RunRecord, RunValues, StudyLooks, StudyPlan, WantedValues
from emabench.spec.study import StudySpec, load_study, study_names
from emabench.table import show_value

DEFAULT_METRICS = "top1,throughput"
_COSTS = "throughput,total_s"


@dataclass(frozen=True)
class Asked:
    """The question as it was asked; what is None is the study's, or the default.

    Attributes:
        metric: a comma list.
        by: the field whose values are compared.
        baseline: the value that the others are compared with.
        margin: texts such as ``top1=0.5``, or widths by metric.
        interval: how intervals are computed: ``t``, ``bca`` or ``anytime``; the planned looks of a
            study that planned several, else ``t``.
        fail_if: rules of a gate, such as ``top1:-0.5``.
        along: fields, or groups of them, that differ by design along with the factor.
    """

    metric: str | None = None
    by: str | None = None
    baseline: str | None = None
    margin: Sequence[str] | Mapping[str, float | str] = ()
    interval: str | None = None
    fail_if: Sequence[str] = ()
    along: Sequence[str] = ()


@dataclass(frozen=True)
class Question:
    """A question, complete and checked; no store has been looked at yet.

    Attributes:
        metrics: those that are compared, and those of the rules.
        rules: of the gate.
        factor: what the arms differ in.
        baseline: value of the factor; None chooses one by what is there.
        chosen_by: the study that chose the baseline, if one did.
        margins: by metric.
        interval: how intervals are computed; None is what the looks of the study say, else ``t``.
        study: whose plan of looks counts.
        unsaid: of ``metrics`` and ``by``, what neither was asked nor a study of the package says;
            the plan of a user's own study says it, if the store has one.
        asked_margins: those that wait until the metrics are known.
    """

    metrics: Sequence[MetricInfo]
    rules: Sequence[Rule]
    factor: Factor
    baseline: str | None
    chosen_by: str | None
    margins: Mapping[str, float]
    interval: Interval | None
    study: str | None = None
    unsaid: frozenset[str] = frozenset()
    asked_margins: Sequence[str] | Mapping[str, float | str] = ()

    @classmethod
    def settle(cls, asked: Asked, study: str | None) -> Question:
        """Complete a question; a study of the package brings metrics, factor and margins along.

        Args:
            asked: as it was asked.
            study: name of the study that the runs belong to, if they were chosen by one.

        Raises:
            UsageError: a word of it cannot be read.
        """
        spec = None if study is None else known_study(study)
        own = None if spec is None else ",".join(spec.metrics)
        rules = parse_rules(asked.fail_if)
        metrics = _with_those_of(rules, asked.metric or own or DEFAULT_METRICS)
        no_plan = None if study else DEFAULT_METRICS
        said = {"metrics": asked.metric or own or no_plan, "by": asked.by or spec}
        by, baseline, along = asked.by, asked.baseline, asked.along
        if spec is not None and by is None:
            by, along = spec.by, [*spec.along, *along]
            baseline = show_value(spec.baseline) if baseline is None else baseline
        margins = {} if spec is None else study_margins(spec.margin, metrics)
        later = asked.margin if said["metrics"] is None else ()
        margins |= {} if later else read_margins(asked.margin, metrics)
        factor = Factor.parse(by or EMA_SCOPE.name, along)
        chosen_by = study if asked.baseline is None and spec is not None else None
        interval = None if asked.interval is None else _interval(asked.interval)
        unsaid = frozenset(name for name, words in said.items() if words is None)
        return cls(
            metrics, rules, factor, baseline, chosen_by, margins, interval, study, unsaid, later
        )

    def planned(self, known: StudyLooks, *, smoke: bool) -> Question:
        """Return the question with what nobody said as a user's own study planned it.

        Args:
            known: what the store knows of the looks at the study.
            smoke: whether smoke runs take part.
        """
        plan = self._plan(known, smoke=smoke)
        terms = {} if plan is None else plan.terms
        found = self
        if "metrics" in self.unsaid and terms.get("metrics"):
            found = replace(found, metrics=_with_those_of(self.rules, ",".join(terms["metrics"])))
        if "by" in self.unsaid and terms:
            factor = Factor.parse(terms["by"], [*terms.get("along", ()), *self.factor.along])
            found = replace(found, factor=factor)
            if self.baseline is None:
                planned = show_value(terms["baseline"])
                found = replace(found, baseline=planned, chosen_by=self.study)
        margins = {**self.margins, **read_margins(self.asked_margins, found.metrics)}
        return replace(found, margins=margins, unsaid=frozenset(), asked_margins=())

    def _plan(self, known: StudyLooks, *, smoke: bool) -> StudyPlan | None:
        real = known.plan(self.study, smoke=False)
        return (known.plan(self.study, smoke=True) or real) if smoke else real

    def with_costs(self) -> Question:
        """Return the question with the usual costs among its metrics."""
        asked = {metric.name for metric in self.metrics}
        costs = [metric for metric in parse_metrics(_COSTS) if metric.name not in asked]
        return replace(self, metrics=[*self.metrics, *costs])

    def wanted(self, points: tuple[str, ...] = ()) -> WantedValues:
        """Return what the store is asked for beside the records of the runs.

        Args:
            points: metrics of the training that somebody wants too.
        """
        return wanted_values(self.metrics, points)

    def answer(
        self,
        runs: Sequence[RunRecord],
        values: RunValues,
        *,
        smoke: bool,
        looks: StudyLooks | None = None,
    ) -> ArmComparison:
        """Compare runs.

        Args:
            runs: of any state, newest last.
            values: of them, see ``wanted``.
            smoke: whether smoke runs take part.
            looks: what the store knows of the looks at the studies of the runs.

        Raises:
            NotFoundError: there is nothing to compare, or the baseline of the study is not there
                yet.
            UnknownNameError: no run has the baseline that was asked for.
        """
        known = looks or StudyLooks()
        plan = self._plan(known, smoke=smoke)
        planned = plan is not None and self.interval is None and len(plan.pairs) > 1
        margins = {} if plan is None else study_margins(plan.terms["margin"], self.metrics)
        try:
            found = compare(
                runs,
                self.metrics,
                by=self.factor,
                baseline=self.baseline,
                margins=margins | dict(self.margins),
                smoke=smoke,
                interval="looks" if planned else self.interval or "t",
                measured=MetricValues.of(values),
                looks=Looks(plan.pairs, plan.levels) if plan is not None and planned else None,
            )
            said = said_of_plan(found, plan, known, margins)
            return replace(found, plan=plan, cautions=(*found.cautions, *said))
        except UnknownNameError as error:
            if self.chosen_by is None:
                raise
            raise NotFoundError(
                f"no finished run has {self.factor.name} {self.baseline}, "
                f"the baseline of study {self.chosen_by}",
                hint="emabench work runs what is queued; --baseline takes another",
            ) from error


def _with_those_of(rules: Sequence[Rule], words: str) -> list[MetricInfo]:
    metrics = list(parse_metrics(words))
    known = {metric.name for metric in metrics}
    metrics += {r.metric.name: r.metric for r in rules if r.metric.name not in known}.values()
    return metrics


def known_study(name: str) -> StudySpec | None:
    """Return a study of the package; None for a user's own, of which the store knows the name."""
    return load_study(name).spec if name in study_names() else None


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


def read_margins(
    asked: Sequence[str] | Mapping[str, float | str], metrics: Sequence[MetricInfo]
) -> dict[str, float]:
    """Read margins: texts as ``parse_margins`` takes them, or widths by metric.

    Args:
        asked: a width is a number in the unit of the metric, the fraction of a ratio, or a text
            such as ``2%``.
        metrics: those that are compared.

    Raises:
        UsageError: as for ``parse_margins``; or a fraction of 1 or more.
        UnknownNameError: the metric is not compared.
    """
    if not isinstance(asked, Mapping):
        return parse_margins(asked, metrics)
    margins = {}
    for name, width in asked.items():
        is_number = isinstance(width, Real) and not isinstance(width, bool)
        metric = next((each for each in metrics if each.name == _bare(name)), None)
        if metric is not None and is_number and metric.kind == "ratio":
            if not 0 < float(width) < 1:
                raise UsageError(
                    f"margin of {name}: {width} is not a fraction between 0 and 1",
                    hint=f'for example {{"{name}": 0.02}} or {{"{name}": "2%"}}',
                )
            margins[metric.name] = float(width)
        else:
            margins |= parse_margins([f"{name}={width}"], metrics)
    return margins


def study_margins(margins: Mapping[str, float], metrics: Iterable[MetricInfo]) -> dict[str, float]:
    """Return those margins of a study that belong to the metrics; of ratios they are fractions."""
    names = {metric.name for metric in metrics}
    return {_bare(name): width for name, width in margins.items() if _bare(name) in names}


def _bare(name: str) -> str:
    """Return the name of a metric without the direction that may stand before it."""
    direction, _, rest = name.partition(":")
    return rest if direction in ("min", "max") else name


def _width(text: str, number: str, metric: MetricInfo) -> float:
    width = number_of(number, f"--margin {text}", metric)
    if width <= 0:
        raise UsageError(f"--margin {text}: a margin must be above 0", hint="for example top1=0.5")
    return width


def _interval(word: str) -> Interval:
    known = [each for each in get_args(Interval) if each != "looks"]
    if word not in known:
        raise UnknownNameError("interval", word, known)
    return cast(Interval, word)
