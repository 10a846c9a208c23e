"""Keep a store in order: upgrade, check, back up, scrub, vacuum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.app.discovery import NamedCommands
from emabench.cli.options.output_forms import JsonOption, OverwriteOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

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
        bool, typer.Option("--no-backup", help="Keep no copy of the older file beside it.")
    ] = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Bring an older store to the schema of this emabench; all of it, or nothing.

    A copy of an older file stays beside it, named after its version. A server keeps copies of its
    own: see pg_dump.

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
            kept = "; no copy was kept: that is for pg_dump"
        typer.echo(f"{_shown(place)} went from schema {done.before} to {done.after}{kept}")


@app.command()
def check(
    location: LocationArgument = None, json: JsonOption = False, db: DbOption = DEFAULT_DB
) -> None:
    """Check that a store is sound: the file, and what its rows say of each other.

    Changes nothing. Exits 1 if anything is wrong.

    Examples:
        emabench db check
        emabench db check results.db --json
    """
    from emabench.cli.app.console import print_json
    from emabench.store.transfer.soundness import check as check_store

    place = location or db
    problems = check_store(place)
    if json:
        print_json({"schema_version": 1, "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
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
    """Copy a store into one plain file, also while workers write to it.

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
    """Copy a store for others: without host names, user names, paths and process ids.

    Each of them becomes a neutral name, such as host-1, and the same one everywhere. All else stays
    as it is. The file is small, plain and can be read in a read-only folder.

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
    """Give back the space of deleted rows.

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
