"""``emabench export``: runs as a file, for another store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.options import DEFAULT_DB, DbOption, WhereOption, where_filters


def command(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The bundle; - is stdout; .gz compresses it."
        ),
    ],
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            show_default=False,
            help="Ids of runs, their beginnings, or @last; all finished runs unless given.",
        ),
    ] = None,
    where: WhereOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Only runs with this label.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write runs to a bundle: JSON lines with all that the store holds of them.

    'emabench import' reads it into another store. Weights, checkpoints and logs are files of their
    own and not in it.

    Examples:
        emabench export -o runs.jsonl.gz
        emabench export @last -o - | ssh host emabench import -
        emabench export --where method=moco -o moco.jsonl
    """
    from emabench.cli.console import err
    from emabench.errors import UsageError
    from emabench.store import RunStore
    from emabench.store.transfer import STANDARD_STREAM, export_runs

    filters = where_filters(where)
    if output != STANDARD_STREAM and output.exists() and not force:
        raise UsageError(f"{output} exists", hint="overwrite it with --force")
    with RunStore.open(db, mode="read") as store:
        if ids:
            found = list({run.id: run for run in map(store.run, ids)}.values())
        else:
            found = store.runs(smoke=True, where=filters, name=name)
    finished = [run.id for run in found if run.state.is_finished]
    left = [run.id for run in found if not run.state.is_finished]
    if ids and left:
        raise UsageError(f"run {left[0]} is not finished", hint="wait for it, or cancel it")
    export_runs(db, finished, output)
    if left:
        err().print(f"note: {len(left)} unfinished runs were left out")
    err().print(f"{len(finished)} runs were exported")
