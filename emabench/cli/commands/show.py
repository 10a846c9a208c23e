"""``emabench show``: everything known of one run."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.console import out, print_json
from emabench.cli.options import DEFAULT_DB, DbOption, JsonOption


def command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Id of the run, a unique beginning of it, or @last for the newest."
        ),
    ],
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show one run: results, cost, environment, attempts, last metrics, and its complete spec.

    Examples:
        emabench show @last
        emabench show 3fa9 --json
    """
    from emabench.report.run_sheet import run_sheet
    from emabench.report.run_table import last_points, run_details
    from emabench.spec.experiment import to_yaml
    from emabench.store import RunStore

    with RunStore.open(db, mode="read") as store:
        record = store.run(run)
        points = last_points(store.metrics(record.id))
    if json:
        print_json({"schema_version": 1, "run": run_details(record, points)})
        return
    console = out()
    for title, table in run_sheet(record, points):
        if table.rows:
            console.print(table.to_rich(title))
    console.print("spec", style="italic")
    typer.echo(to_yaml(record.spec), nl=False)
