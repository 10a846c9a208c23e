"""``emabench rename``: give runs another name."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import print_json
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NamedRunsArgument,
    NameOption,
    StudyOption,
    WhereOption,
)

PANEL = "Keep the store"


def command(
    new_name: Annotated[
        str, typer.Argument(metavar="NAME", help="The new name; '' takes the name away.")
    ],
    runs: NamedRunsArgument = None,
    where: WhereOption = None,
    study: StudyOption = None,
    name: NameOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Give runs a name; several may share one. Nothing else of them changes.

    Examples:
        emabench rename baseline 3fa9
        emabench rename baseline 3fa9 77c1
        emabench rename baseline --name first-try
    """
    from emabench.cli.options.job_ids import existing_store
    from emabench.cli.options.run_choice import named_runs
    from emabench.table import visible

    with existing_store(db) as store:
        chosen = [run.id for run in named_runs(store, runs, where, study=study, name=name)]
        store.rename(chosen, new_name or None)
    if json:
        rows = [{"id": run, "name": new_name or None} for run in chosen]
        print_json({"schema_version": 1, "runs": rows})
        return
    for run in chosen:
        typer.echo(visible(f"{run}: {new_name or 'no name'}"))
