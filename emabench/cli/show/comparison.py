"""A comparison on the command line: what is asked of the store, and how the answer is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from emabench.cli.app.console import err, out, print_cautions, print_json
from emabench.cli.options.shared import where_filters
from emabench.errors import GateFailedError, NotFoundError, SpecError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from emabench.analysis.comparison import Comparison
    from emabench.analysis.gate import Rule
    from emabench.spec.study import StudySpec
    from emabench.table import Format

_METRICS = "top1,throughput"


@dataclass(frozen=True)
class Asked:
    """The question as it was typed; what is None is the study's, or the default."""

    metric: str | None = None
    by: str | None = None
    baseline: str | None = None
    margin: tuple[str, ...] = ()
    interval: Literal["t", "bca"] = "t"
    fail_if: tuple[str, ...] = ()


def read_comparison(
    asked: Asked,
    db: str,
    where: Sequence[str] | None = None,
    name: str | None = None,
    study: str | None = None,
    *,
    smoke: bool = False,
) -> tuple[Comparison, list[Rule]]:
    """Open the store, and compare what it holds.

    A study of the package brings its metrics, factor, baseline and margins along.

    Args:
        asked: the question.
        db: path or URL of the store.
        where: conditions ``field=value``.
        name: of the runs.
        study: that the runs belong to.
        smoke: whether smoke runs take part.

    Returns:
        The comparison, and the rules of its gate.

    Raises:
        UsageError: a word of the question cannot be read.
        NotFoundError: there is nothing to compare, or the baseline of the study is not there yet.
    """
    from emabench.analysis.comparison import compare
    from emabench.analysis.factor import EMA_SCOPE, Factor
    from emabench.analysis.gate import parse_rules
    from emabench.analysis.margins import parse_margins, study_margins
    from emabench.analysis.metrics import parse_metrics
    from emabench.report.stored_values import read_measured
    from emabench.store import RunStore
    from emabench.store.runs.whole_runs import without_collection
    from emabench.table import show_value

    spec = None if study is None else _study(study)
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
    filters = where_filters(where)
    # The records live until the process ends: looking for garbage among them only takes time.
    with without_collection(), RunStore.open(db, mode="read") as store:
        runs = store.runs(smoke=True, where=filters, name=name, study=study)
        measured = read_measured(store, runs, metrics)
    try:
        comparison = compare(
            runs,
            metrics,
            by=factor,
            baseline=baseline,
            margins=margins,
            smoke=smoke,
            interval=asked.interval,
            measured=measured,
        )
    except UnknownNameError as error:
        if asked.baseline is not None or spec is None:
            raise
        raise NotFoundError(
            f"no finished run has {factor.name} {baseline}, the baseline of study {study}",
            hint="emabench work runs what is queued; --baseline takes another",
        ) from error
    return comparison, rules


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
            "--columns chooses those of the table of arms",
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
        typer.echo(table.to_csv(), nl=False)
    elif form in ("markdown", "latex"):
        table = tables.runs_table(comparison) if runs else tables.reading_table(comparison, chosen)
        typer.echo(table.to_markdown() if form == "markdown" else table.to_latex(), nl=False)
    else:
        sections = [tables.reading_table(comparison, chosen)]
        sections += [tables.verdict_table(comparison)] if columns is None else []
        sections += [tables.runs_table(comparison)] if runs else []
        for section in sections:
            if section.rows:
                out().print(section.to_rich())
        for line in tables.headlines(comparison) if columns is None else ():
            out().print(line)
    print_cautions(comparison.notes, comparison.cautions)
    failed = [result for result in results if not result.passed]
    for result in results:
        err().print(f"gate {'passed' if result.passed else 'FAILED'}: {result.words}")
    if failed:
        raise GateFailedError(
            f"{len(failed)} of {len(results)} gates failed: {failed[0].words}",
            hint="compare --runs shows every seed; more seeds make a gate surer",
        )


def _study(name: str) -> StudySpec | None:
    """Return a study of the package; None for a user's own, of which the store knows the name."""
    from emabench.spec.study import load_study

    try:
        return load_study(name).spec
    except (UnknownNameError, SpecError):
        return None
