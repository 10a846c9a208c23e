"""``emabench diff``: what differs between two runs."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import err, print_json
from emabench.cli.options.completion import complete_runs
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption, RunArgument

PANEL = "Read"


def command(
    first: RunArgument,
    second: Annotated[
        str, typer.Argument(metavar="RUN", help="Another one.", autocompletion=complete_runs)
    ],
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show what differs between two runs: spec, environment, results, costs and test images.

    Examples:
        emabench diff 3fa9 81c2
        emabench diff 3fa9 @last --json
    """
    from emabench.analysis.run_diff import diff_runs, diff_tables
    from emabench.cli.show.tables import print_table
    from emabench.records import RunQuery, WantedValues
    from emabench.store import RunStore

    with RunStore.open(db, mode="read") as store:
        stored = store.read(RunQuery(ids=(first, second)), WantedValues(correct=None))
    one, two = stored.runs[0], stored.runs[-1]  # which may be the same
    diff = diff_runs(one, two, stored.values.correct)
    if json:
        print_json(diff.to_json())
        return
    if diff.is_empty:
        err().print("nothing differs")
    for title, table in diff_tables(diff):
        print_table(table, title)
