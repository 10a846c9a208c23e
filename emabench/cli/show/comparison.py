"""A comparison on the command line: what is asked of the store, and how the answer is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from emabench.cli.app.console import err, out, print_cautions, print_json
from emabench.cli.options.question_flags import Asked
from emabench.cli.show.tables import print_table
from emabench.errors import GateFailedError, NotFoundError, SpecError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from emabench.analysis.comparison import Comparison
    from emabench.analysis.factor import Factor
    from emabench.analysis.gate import Rule
    from emabench.analysis.metrics import MetricInfo
    from emabench.records import RunQuery, StoredRuns
    from emabench.spec.study import StudySpec
    from emabench.store import RunStore
    from emabench.table import Format

_METRICS = "top1,throughput"


@dataclass(frozen=True)
class Question:
    """What was asked of which runs, complete and checked; the store is not looked at yet.

    Attributes:
        query: the runs that take part.
        metrics: those that are compared, and those of the rules.
        rules: of the gate.
        factor: what the arms differ in.
        baseline: value of the factor; None chooses one by what is there.
        is_study: whether the study of the runs chose the baseline.
        margins: by metric.
        interval: how intervals are computed.
    """

    query: RunQuery
    metrics: Sequence[MetricInfo]
    rules: Sequence[Rule]
    factor: Factor
    baseline: str | None
    is_study: bool
    margins: Mapping[str, float]
    interval: Literal["t", "bca"]

    @classmethod
    def settle(cls, asked: Asked, query: RunQuery) -> Question:
        """Complete a question; a study of the package brings metrics, factor and margins along.

        Raises:
            UsageError: a word of it cannot be read.
        """
        from emabench.analysis.factor import EMA_SCOPE, Factor
        from emabench.analysis.gate import parse_rules
        from emabench.analysis.margins import parse_margins, study_margins
        from emabench.analysis.metrics import parse_metrics
        from emabench.table import show_value

        spec = None if query.study is None else _study(query.study)
        own = None if spec is None else ",".join(spec.metrics)
        rules = parse_rules(asked.fail_if)
        metrics = parse_metrics(asked.metric or own or _METRICS)
        known = {metric.name for metric in metrics}
        metrics += {r.metric.name: r.metric for r in rules if r.metric.name not in known}.values()
        by, baseline = asked.by, asked.baseline
        if spec is not None and by is None:
            by = spec.by
            baseline = show_value(spec.baseline) if baseline is None else baseline
        margins = {} if spec is None else study_margins(spec.margin, metrics)
        margins |= parse_margins(asked.margin, metrics)
        factor = EMA_SCOPE if by is None else Factor.parse(by)
        is_study = asked.baseline is None and spec is not None
        return cls(query, metrics, rules, factor, baseline, is_study, margins, asked.interval)

    def read(self, store: RunStore, points: tuple[str, ...] = ()) -> StoredRuns:
        """Read all that the answer needs, and metrics of the training of some names."""
        from emabench.analysis.metric_values import wanted_values

        return store.read(self.query.with_smoke, wanted_values(self.metrics, points))

    def answer(self, stored: StoredRuns) -> Comparison:
        """Compare what was read.

        Raises:
            NotFoundError: there is nothing to compare, or the baseline of the study is not there
                yet.
        """
        from emabench.analysis.comparison import compare
        from emabench.analysis.metric_values import MetricValues

        try:
            return compare(
                stored.runs,
                self.metrics,
                by=self.factor,
                baseline=self.baseline,
                margins=self.margins,
                smoke=self.query.smoke,
                interval=self.interval,
                measured=MetricValues.of(stored.values),
            )
        except UnknownNameError as error:
            if not self.is_study:
                raise
            raise NotFoundError(
                f"no finished run has {self.factor.name} {self.baseline}, "
                f"the baseline of study {self.query.study}",
                hint="emabench work runs what is queued; --baseline takes another",
            ) from error


def print_comparison(
    comparison: Comparison,
    rules: Sequence[Rule],
    form: Format,
    *,
    runs: bool = False,
    columns: str | None = None,
) -> None:
    """Print a comparison to stdout and its warnings to stderr.

    Raises:
        UsageError: the columns do not go with the form, or one of them is unknown.
        GateFailedError: an arm moved further than a rule allows.
    """
    from emabench.analysis.gate import check
    from emabench.report.tables import comparison_table as tables
    from emabench.report.tables.comparison_columns import chosen_columns

    if columns is not None and (form == "json" or (runs and form != "text")):
        raise UsageError(
            "--columns applies only to the table of arms",
            hint="leave it out, --json holds everything" if form == "json" else "leave out --runs",
        )
    chosen = None if columns is None else chosen_columns(comparison, columns)
    results = check(comparison, rules)
    if form == "json":
        payload = comparison.to_json()
        if rules:
            payload["gate"] = [result.to_json() for result in results]
        print_json(payload)
    elif form == "csv":
        table = tables.runs_data(comparison) if runs else tables.data_table(comparison, chosen)
        print_table(table, form=form)
    elif form != "text":
        table = tables.runs_table(comparison) if runs else tables.reading_table(comparison, chosen)
        print_table(table, form=form)
    else:
        sections = [tables.reading_table(comparison, chosen)]
        sections += [tables.verdict_table(comparison)] if columns is None else []
        sections += [tables.runs_table(comparison)] if runs else []
        for section in sections:
            if section.rows:
                print_table(section)
        for line in tables.headlines(comparison) if columns is None else ():
            out().print(line)
    print_cautions(comparison.notes, comparison.cautions)
    failed = [result for result in results if not result.passed]
    for result in results:
        err().print(f"gate {'passed' if result.passed else 'FAILED'}: {result.words}")
    if failed:
        raise GateFailedError(
            f"{len(failed)} of {len(results)} gates failed: {failed[0].words}",
            hint="compare --runs shows every seed; more seeds make a gate more certain",
        )


def _study(name: str) -> StudySpec | None:
    """Return a study of the package; None for a user's own, of which the store knows the name."""
    from emabench.spec.study import load_study

    try:
        return load_study(name).spec
    except (UnknownNameError, SpecError):
        return None
