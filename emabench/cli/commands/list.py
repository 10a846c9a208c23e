"""``emabench list``: the runs in the store."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import err, print_json
from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.errors import UsageError

PANEL = "Read"


def command(
    where: WhereOption = None,
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
        int | None, typer.Option("--limit", min=1, metavar="N", help="Only the newest N runs.")
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
        emabench list --limit 5 --json
        emabench list --evaluations
    """
    from emabench.cli.show.tables import print_table
    from emabench.report.tables import evaluation_table, run_table
    from emabench.report.tables.run_table import choose_runs
    from emabench.store import RunStore
    from emabench.table import choose_format

    if evaluations and study is not None:
        raise UsageError("evaluations belong to no study", hint="leave out --study")
    what = "evaluation" if evaluations else "run"
    form = choose_format(json=json, csv=csv, markdown=markdown)
    query = run_query(where, study=study, smoke=True)
    with RunStore.open(db, mode="read") as store:
        found = store.evaluations(query=query) if evaluations else store.runs(query)
    chosen, notes = choose_runs(found, state=state, smoke=smoke, limit=limit, what=what)
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
    elif chosen or form != "text":
        print_table(data(chosen) if form == "csv" else reading(chosen), form=form)
    for note in notes:
        err().print(note)
