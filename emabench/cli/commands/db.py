"""Keep a store in order: upgrade, check, back up, scrub, vacuum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.app.discovery import NamedCommands
from emabench.cli.options.output_forms import JsonOption, OverwriteOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

PANEL = "Keep the store"

app = typer.Typer(cls=NamedCommands, add_completion=False, rich_markup_mode=None)

LocationArgument = Annotated[
    str | None,
    typer.Argument(metavar="STORE", show_default=False, help="The store, instead of --db."),
]
CopyOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
]


@app.command()
def upgrade(
    location: LocationArgument = None,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Keep no copy of the older file.")
    ] = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Bring an older store up to this emabench's schema, completely or not at all.

    A copy of the older file stays beside it, named after its version. On a server, back up with
    pg_dump.

    Examples:
        emabench db upgrade
        emabench db upgrade old.db --no-backup
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.upgrade import upgrade as upgrade_store

    place = location or db
    done = upgrade_store(place, backup=not no_backup)
    if json:
        copy = None if done.backup is None else str(done.backup)
        print_json(
            {"schema_version": 1, "before": done.before, "after": done.after, "backup": copy}
        )
    elif done.before == done.after:
        typer.echo(f"{_shown(place)} is up to date: schema {done.after}")
    else:
        kept = "" if done.backup is None else f"; the old file is {done.backup}"
        if done.on_server:
            kept = "; no copy was kept: use pg_dump for that"
        typer.echo(f"{_shown(place)} went from schema {done.before} to {done.after}{kept}")


@app.command()
def check(
    location: LocationArgument = None, json: JsonOption = False, db: DbOption = DEFAULT_DB
) -> None:
    """Check that a store is sound: that its file is whole, and that its rows agree.

    Changes nothing. Exits 1 if anything is wrong.

    Examples:
        emabench db check
        emabench db check results.db --json
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.soundness import check as check_store
    from emabench.table import visible

    place = location or db
    problems = check_store(place)
    if json:
        print_json({"schema_version": 1, "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(visible(problem))
        if not problems:
            typer.echo(f"{_shown(place)} is sound")
    if problems:
        raise typer.Exit(1)


@app.command()
def backup(
    output: CopyOption,
    location: LocationArgument = None,
    force: OverwriteOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Copy a store into one plain file, even while workers write to it.

    Examples:
        emabench db backup -o monday.db
        emabench db backup results.db -o latest.db --force
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.copying import copy_store

    copy_store(location or db, output, overwrite=force)
    size = output.stat().st_size
    if json:
        print_json({"schema_version": 1, "file": str(output), "bytes": size})
    else:
        typer.echo(f"{output}: {size:,} bytes")


@app.command()
def scrub(
    output: CopyOption,
    location: LocationArgument = None,
    force: OverwriteOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Copy a store to share: without host names, user names, paths and process ids.

    Each becomes a neutral name such as host-1, the same one everywhere. Everything else stays as it
    is. The file is small, plain and can be read in a read-only folder.

    Examples:
        emabench db scrub -o public.db
        emabench db scrub results.db -o public.db --force
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.scrubbing import scrub_store

    replaced = scrub_store(location or db, output, overwrite=force)
    size = output.stat().st_size
    if json:
        answer = {"schema_version": 1, "file": str(output), "bytes": size, "replaced": replaced}
        print_json(answer)
    else:
        counts = ", ".join(f"{count} {what}" for what, count in replaced.items())
        typer.echo(f"{output}: {size:,} bytes; replaced: {counts}")


@app.command()
def vacuum(
    location: LocationArgument = None, json: JsonOption = False, db: DbOption = DEFAULT_DB
) -> None:
    """Free the space of deleted rows.

    Examples:
        emabench db vacuum
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.soundness import vacuum as vacuum_store

    place = location or db
    before, after = vacuum_store(place)
    if json:
        print_json({"schema_version": 1, "bytes_before": before, "bytes_after": after})
    else:
        typer.echo(f"{_shown(place)}: {before:,} bytes before, {after:,} after")


def _shown(place: str) -> str:
    """Return the name of a store without the password of its URL."""
    from emabench.store.connection.location import Location

    return Location.parse(place).label
