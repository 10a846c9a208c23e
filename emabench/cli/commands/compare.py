"""``emabench compare``: is it cheaper, and not worse?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from emabench.cli.options.completion import complete_metrics
from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    StudyOption,
    WhereOption,
)
from emabench.cli.options.typed_options import typed_options
from emabench.cli.show.benches import print_stored_benches
from emabench.cli.show.comparison import print_across, print_comparison, remember_look
from emabench.errors import UsageError

PANEL = "Read"


class ReportWord(StrEnum):
    """What is shown of a comparison in place of everything."""

    MEAN_SD = "mean-sd"


class IntervalWord(StrEnum):
    """How the intervals are computed."""

    T = "t"
    BCA = "bca"


def command(
    ctx: typer.Context,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME,…",
            autocompletion=complete_metrics,
            help="Metrics to compare: top1, top5, knn_top1, knn_top5, online_top1, throughput, "
            "step_ms, bench_step_ms, train_s, total_s, peak_memory, ema_bytes, flops, energy, "
            "effective_rank, grad_cv:<block>, few_shot_<n>, top1@<data set>; others as "
            "min:NAME or max:NAME.  [default: top1,throughput]",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="FIELD",
            help="The field whose values are compared; also name and commit.  [default: ema_scope]",
        ),
    ] = None,
    along: Annotated[
        str | None,
        typer.Option(
            "--along",
            metavar="FIELD,…",
            help="Fields or groups that differ by design along with the factor: epochs,optimizer.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="VALUE",
            help="Value to compare with; for EMA scopes full if there is one, else none.",
        ),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            "--margin",
            metavar="METRIC=WIDTH",
            help="Differences within it do not count: top1=0.5, throughput=2%. May be repeated.",
        ),
    ] = None,
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Compare smoke runs too.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Show every run.")] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAME,…",
            help="Columns to show: fields, n, seeds, answer, metrics, and METRIC:change, :p, "
            ":verdict, :corrected, :test_set.",
        ),
    ] = None,
    interval: Annotated[
        IntervalWord | None,
        typer.Option(
            "--interval",
            help="Intervals by Student's t, or by a BCa bootstrap.  [default: that of the study's "
            "looks, or t]",
        ),
    ] = None,
    anytime: Annotated[
        bool,
        typer.Option("--anytime", help="Wide intervals that hold at every look, planned or not."),
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="METRIC:BOUND",
            help="Exit with 5 if an arm moves further: top1:-0.5, throughput:-5%. May be repeated.",
        ),
    ] = None,
    across: Annotated[
        str | None,
        typer.Option(
            "--across",
            metavar="FIELD,…",
            help="One line per value over all tasks, such as dataset,method: interquartile mean "
            "and probability of improvement.",
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="Show the nearest published settings too."),
    ] = False,
    report: Annotated[
        ReportWord | None,
        typer.Option(
            "--report",
            help="Show only mean ± sd over seeds, n, and marks of significance, as a table to "
            "paste with --markdown or --latex.",
        ),
    ] = None,
    bench: Annotated[
        bool,
        typer.Option("--bench", help="Show the finished benches instead of runs, newest last."),
    ] = False,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print a LaTeX table for the booktabs package.")
    ] = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Compare finished runs, grouped by everything except the seed: cheaper, and not worse?

    Shows n, mean and standard deviation of each metric, the paired difference or ratio to the
    baseline with its 95 % interval, the verdict on it, and only the fields in which runs differ.

    Examples:
        emabench compare --metric top1,throughput --margin top1=0.5
        emabench compare --metric knn_top1,total_s --baseline none --where method=moco
        emabench compare --by ema.decay --where ema_scope=full --runs
        emabench compare --fail-if top1:-0.5 --fail-if throughput:-5%
        emabench compare --csv > comparison.csv
        emabench compare --metric top1,knn_top1 --published
        emabench compare --metric top1,knn_top1 --report mean-sd --latex
        emabench compare --across dataset,method --metric top1
        emabench compare --bench --where method=simclr
    """
    from emabench.analysis.question import Asked, Question
    from emabench.library import open_store
    from emabench.table import choose_format

    form = choose_format(json=json, csv=csv, markdown=markdown, latex=latex)
    if bench:
        if not {*typed_options(ctx)} <= {"bench", "where", "json", "db"}:
            raise UsageError("--bench takes only --where and --json", hint="leave the rest out")
        print_stored_benches(db, where, json=json)
        return
    if anytime and interval is not None:
        raise UsageError(
            f"--anytime and --interval {interval.value} exclude each other",
            hint="choose one of them",
        )
    if report is not None and (runs or published or columns is not None or form in ("json", "csv")):
        raise UsageError(
            "--report is a table to read, of the arms",
            hint="leave out --runs, --columns, --published, --csv and --json",
        )
    if across is not None and (runs or columns or published or report is not None):
        raise UsageError(
            "--across shows no single arms",
            hint="leave out --runs, --columns, --published and --report",
        )
    kind = "anytime" if anytime else None if interval is None else interval.value
    along_with = () if along is None else along.split(",")
    asked = Asked(metric, by, baseline, margin or (), kind, fail_if or (), along=along_with)
    question = Question.settle(asked, study)
    with open_store(db) as store:
        chosen = store.select(study=study, where=where, name=name, smoke=smoke)
    if across is not None:
        answer, tasks = chosen.across(question, across.split(","))
        remember_look(answer, db)
        print_across(answer, tasks, form)
        return
    answer = chosen.answer(question)
    remember_look(answer, db)
    print_comparison(
        answer, form, runs=runs, columns=columns, published=published, means=report is not None
    )
