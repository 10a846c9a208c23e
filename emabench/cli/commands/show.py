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
            metavar="RUN",
            help="Id of a run or evaluation, a unique beginning, or @last for the newest run.",
        ),
    ],
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show one run: results, cost, environment, attempts, last metrics, and its complete spec.

    Also the evaluations of its weights; or one of these, by its own id.

    Examples:
        emabench show @last
        emabench show 3fa9 --json
    """
    from emabench.report.evaluation_table import evaluation_values
    from emabench.report.run_sheet import run_sheet
    from emabench.report.run_table import last_points, run_details
    from emabench.spec.experiment import to_yaml
    from emabench.store import RunStore

    with RunStore.open(db, mode="read") as store:
        record = store.run(run)
        points = last_points(store.metrics(record.id))
        evaluations = store.evaluations(record.id)
    if json:
        details = run_details(record, points)
        details["evaluations"] = [evaluation_values(each) for each in evaluations]
        print_json({"schema_version": 1, "run": details})
        return
    console = out()
    for title, table in run_sheet(record, points, evaluations):
        if table.rows:
            console.print(table.to_rich(title))
    console.print("spec", style="italic")
    typer.echo(to_yaml(record.spec), nl=False)
