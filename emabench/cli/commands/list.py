"""``emabench list``: the runs in the store."""

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
    WhereOption,
    where_filters,
)


def command(
    where: WhereOption = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only runs in this state: queued, running, done, failed, cancelled.",
        ),
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="List smoke runs too.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Only the newest N runs.")
    ] = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """List the runs in the store, the newest last.

    Examples:
        emabench list
        emabench list --where method=simclr --where seed=0 --state done
        emabench list --limit 5 --json
    """
    from emabench.report.run_choice import choose_runs
    from emabench.report.run_table import data_table, reading_table, run_values
    from emabench.report.tables import choose_format
    from emabench.store import RunStore

    form = choose_format(json=json, csv=csv, markdown=markdown)
    filters = where_filters(where)
    with RunStore.open(db, mode="read") as store:
        found = store.runs(smoke=True, where=filters)
    runs, notes = choose_runs(found, state=state, smoke=smoke, limit=limit)
    if form == "json":
        print_json({"schema_version": 1, "runs": [run_values(run) for run in runs]})
    elif form == "csv":
        typer.echo(data_table(runs).to_csv(), nl=False)
    elif form == "markdown":
        typer.echo(reading_table(runs).to_markdown(), nl=False)
    elif runs:
        out().print(reading_table(runs).to_rich())
    for note in notes:
        err().print(note)
