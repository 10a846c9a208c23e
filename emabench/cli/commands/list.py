"""``emabench list``: the runs in the store."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import err, print_json
from emabench.cli.options.completion import complete_run_fields, complete_tags
from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.errors import UsageError

PANEL = "Read"


def command(
    where: WhereOption = None,
    name: NameOption = None,
    tag: Annotated[
        str | None,
        typer.Option(
            "--tag", metavar="TAG", help="Only runs with this tag.", autocompletion=complete_tags
        ),
    ] = None,
    study: StudyOption = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only runs in this state: queued, running, done, failed, cancelled.",
        ),
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="List smoke runs too.")] = False,
    evaluations: Annotated[
        bool,
        typer.Option("--evaluations", help="List the evaluations of 'emabench eval' instead."),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="Only the newest N runs; with --sort the first N."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="NAME,…",
            help="Order by fields, results, costs or labels; -NAME the other way round.",
            autocompletion=complete_run_fields,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAME,…",
            help="Columns to show: fields, results, costs, and id, name, state, tag, study, note, "
            "created.",
            autocompletion=complete_run_fields,
        ),
    ] = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """List the runs in the store, newest last.

    Examples:
        emabench list
        emabench list --where method=simclr --where seed=0 --state done
        emabench list --where 'top1>80' --where 'note~noisy' --tag paper
        emabench list --sort -top1 --columns id,ema_scope,ema.decay,top1 --limit 5
        emabench list --limit 5 --json
        emabench list --evaluations
    """
    from emabench.cli.show.tables import print_table
    from emabench.report.tables import evaluation_table, run_table
    from emabench.report.tables.run_table import choose_runs
    from emabench.store import RunStore
    from emabench.store.runs.run_field import sorted_runs
    from emabench.table import choose_format

    if evaluations and study is not None:
        raise UsageError("evaluations belong to no study", hint="leave out --study")
    what = "evaluation" if evaluations else "run"
    form = choose_format(json=json, csv=csv, markdown=markdown)
    if columns is not None and (form == "json" or evaluations):
        raise UsageError(
            "--columns applies to the table of runs", hint="leave it out, --json holds everything"
        )
    chosen_columns = None if columns is None else run_table.chosen_columns(columns)
    conditions = [*(where or ()), *([] if tag is None else [f"tag={tag}"])]
    query = run_query(conditions, name=name, study=study, smoke=True)
    with RunStore.open(db, mode="read") as store:
        found = store.evaluations(query=query) if evaluations else store.runs(query)
    found = found if sort is None else sorted_runs(found, sort)
    chosen, notes = choose_runs(
        found, state=state, smoke=smoke, limit=limit, is_sorted=sort is not None, what=what
    )
    values, data, reading = (
        (
            evaluation_table.evaluation_values,
            evaluation_table.evaluation_data,
            evaluation_table.evaluation_table,
        )
        if evaluations
        else (run_table.run_values, run_table.data_table, run_table.reading_table)
    )
    if form == "json":
        print_json({"schema_version": 1, f"{what}s": [values(each) for each in chosen]})
    elif chosen_columns is not None:
        print_table(run_table.table_of(chosen, chosen_columns, exact=form == "csv"), form=form)
    elif chosen or form != "text":
        print_table(data(chosen) if form == "csv" else reading(chosen), form=form)
    for note in notes:
        err().print(note)
