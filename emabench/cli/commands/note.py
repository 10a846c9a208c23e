"""``emabench note``: write down something about a run."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import err, print_json
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption, RunArgument

PANEL = "Keep the store"


def command(
    run: RunArgument,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="The note, in place of an older one; '' takes it away."
        ),
    ] = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a note about a run, or print the one that it has.

    'emabench show' shows it, and --where 'note~WORD' finds runs by it.

    Examples:
        emabench note 3fa9 "the loss jumps in epoch 3"
        emabench note 3fa9
    """
    from emabench.cli.options.job_ids import existing_store
    from emabench.store import RunStore
    from emabench.table import visible

    if text is None:
        with RunStore.open(db, mode="read") as reader:
            found = reader.run(run)
    else:
        with existing_store(db) as store:
            found = store.run(run)
            store.annotate([found.id], text)
            found = store.run(found.id)
    if json:
        row = {"id": found.id, "note": found.note}
        print_json({"schema_version": 1, "run": row})
    elif text is not None:
        typer.echo(f"{found.id}: {'no note' if found.note is None else 'noted'}")
    elif found.note is None:
        err().print(f"{found.title} has no note")
    else:
        typer.echo(visible(found.note))
