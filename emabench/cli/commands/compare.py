"""``emabench compare``: what each EMA scope costs and buys."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.console import err, out, print_json
from emabench.cli.options import (
    DEFAULT_DB,
    CsvOption,
    DbOption,
    JsonOption,
    MarkdownOption,
    StudyOption,
    WhereOption,
    where_filters,
)


def command(
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME,…",
            help="Metrics to compare: top1, top5, knn_top1, knn_top5, online_top1, throughput, "
            "step_ms, train_s, total_s, peak_memory, ema_bytes, flops, energy.",
        ),
    ] = "top1,throughput",
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="SCOPE",
            help="EMA scope to compare with; full if there is one, else none.",
        ),
    ] = None,
    where: WhereOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Only runs that were given this name.")
    ] = None,
    study: StudyOption = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Compare smoke runs too.")] = False,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Compare finished runs, grouped by everything except the seed.

    Shows n, mean and standard deviation of each metric, the paired difference or ratio to the
    baseline with its 95 % interval, and only the fields in which the runs differ.

    Examples:
        emabench compare --metric top1,throughput
        emabench compare --metric knn_top1,total_s --baseline none --where method=moco
        emabench compare --csv > comparison.csv
    """
    from emabench.report.comparison import compare
    from emabench.report.comparison_table import data_table, reading_table
    from emabench.report.metrics import parse_metrics
    from emabench.report.tables import choose_format
    from emabench.store import RunStore

    form = choose_format(json=json, csv=csv, markdown=markdown)
    metrics = parse_metrics(metric)
    filters = where_filters(where)
    with RunStore.open(db, mode="read") as store:
        runs = store.runs(smoke=True, where=filters, name=name, study=study)
    comparison = compare(runs, metrics, baseline=baseline, smoke=smoke)
    if form == "json":
        print_json(comparison.to_json())
    elif form == "csv":
        typer.echo(data_table(comparison).to_csv(), nl=False)
    elif form == "markdown":
        typer.echo(reading_table(comparison).to_markdown(), nl=False)
    else:
        out().print(reading_table(comparison).to_rich())
    for note in comparison.notes:
        err().print(f"note: {note}")
    for warning in comparison.warnings:
        err().print(f"warning: {warning}")
