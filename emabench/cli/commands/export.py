"""``emabench export``: runs as a file, for another store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.options.output_forms import JsonOption, OverwriteOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.errors import UsageError

PANEL = "Keep the store"


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
            help="Ids of runs (the first characters are enough) or @last; by default all "
            "finished runs.",
        ),
    ] = None,
    where: WhereOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Only runs with this label.")] = None,
    study: StudyOption = None,
    force: OverwriteOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write runs to a bundle: JSON lines with everything the store knows about them.

    'emabench import' reads it into another store. Weights, checkpoints and logs are separate files
    and not part of it.

    Examples:
        emabench export -o runs.jsonl.gz
        emabench export @last -o - | ssh host emabench import -
        emabench export --where method=moco -o moco.jsonl
    """
    from emabench.cli.app.console import err, print_json
    from emabench.store.transfer.moving import STANDARD_STREAM, export_runs

    if ids and (where or name is not None or study is not None):
        raise UsageError(
            "give ids, or --where, --name and --study, not both",
            hint="leave one of them out",
        )
    if json and output == STANDARD_STREAM:
        raise UsageError("--json and the bundle both want stdout", hint="name a file with -o")
    if output != STANDARD_STREAM and output.exists() and not force:
        raise UsageError(f"{output} exists", hint="overwrite it with --force")
    done = export_runs(
        db,
        output,
        run_query(where, ids=ids, name=name, study=study),
        overwrite=force,
    )
    if json:
        exported, left = list(done.written), list(done.unfinished)
        print_json(
            {"schema_version": 1, "file": str(output), "exported": exported, "unfinished": left}
        )
    if done.unfinished:
        err().print(f"note: {len(done.unfinished)} unfinished runs were left out")
    if done.unreadable:
        err().print(f"note: unreadable runs were left out: {', '.join(done.unreadable)}")
    err().print(f"{len(done.written)} runs were exported")
