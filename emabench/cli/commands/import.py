"""``emabench import``: runs that another store exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

PANEL = "Keep the store"


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A bundle of 'emabench export'; - is stdin.")
    ],
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Read runs from a bundle into the store: all of them, or none if it is damaged.

    Runs that the store has already are left alone. The plans of their studies come along, where
    the store has none, and the looks that were taken. The store is created if it does not exist.

    Examples:
        emabench import runs.jsonl.gz
        emabench import runs.jsonl --db postgresql://user@host/results
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.moving import import_runs
    from emabench.table import counted

    inserted, existing = import_runs(db, file)
    if json:
        print_json({"schema_version": 1, "imported": inserted, "existing": existing})
    else:
        typer.echo(f"{counted(len(inserted), 'run')} imported, {len(existing)} there already")
