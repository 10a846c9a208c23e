"""``emabench prune``: free the disk of what nobody needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.artifacts.layout import artifacts_folder, is_own_folder
from emabench.cli.app.confirm import YesOption, agreed
from emabench.cli.options.kept_files import ArtifactsOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

if TYPE_CHECKING:
    from emabench.artifacts.pruning import Surplus

PANEL = "Keep the store"


def command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be deleted; delete nothing.")
    ] = False,
    yes: YesOption = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Delete the weights of done runs too.")
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Delete the logs of done runs too.")] = False,
    orphans: Annotated[
        bool,
        typer.Option(
            "--orphans",
            help="Delete the files of jobs that are not in the store too, even in a folder "
            "that other stores may use.",
        ),
    ] = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Delete files that nobody needs; never those of a running attempt.

    These are checkpoints of done jobs and those that a newer attempt superseded, unfinished files
    of attempts that ended, and, in the folder beside the store, files of jobs that are not in the
    store.

    Examples:
        emabench prune --dry-run
        emabench prune --weights --yes
    """
    from emabench.artifacts.files import delete_files, scan_files
    from emabench.artifacts.pruning import find_prunable
    from emabench.cli.app.console import err, print_json
    from emabench.cli.show.tables import print_table
    from emabench.errors import EmabenchError
    from emabench.report.tables.disk_table import (
        pruning_reasons,
        pruning_summary,
        pruning_table,
        pruning_values,
    )
    from emabench.store import RunStore

    folder = artifacts_folder(db, artifacts)
    files = scan_files(folder)
    with RunStore.open(db, mode="read") as store:
        runs = store.everything()
    own = orphans or is_own_folder(folder, db)
    wanted = _kinds(weights=weights, logs=logs, orphans=own)
    found = find_prunable(files, runs, is_readable=_is_readable, kinds=wanted)
    jobs = {job.id for run in runs for job in run.jobs}
    if not own and any(file.job_id not in jobs for file in files if file.job_id is not None):
        err().print(
            "note: files of jobs that are not in the store are kept: another store may use "
            f"{folder}; --orphans deletes them"
        )
    failures: tuple[str, ...] = ()
    if found and not dry_run:
        if not yes:
            for line in pruning_reasons(found):
                err().print(line)
        if agreed(f"delete {pruning_summary(found)}", yes=yes):
            deletion = delete_files(folder, [each.file for each in found])
            failures, gone = deletion.failures, set(deletion.files)
            found = [each for each in found if each.file in gone]
        else:
            found = []
    if json:
        print_json({"schema_version": 1, "dry_run": dry_run, **pruning_values(found)})
    else:
        if dry_run and found:
            print_table(pruning_table(found))
        typer.echo(f"{'would free' if dry_run else 'freed'} {pruning_summary(found)}")
        for line in pruning_reasons(found):
            typer.echo(line)
    if failures:
        what = "1 file is" if len(failures) == 1 else f"{len(failures)} files are"
        raise EmabenchError(
            f"{what} left: {failures[0]}", hint="do you have write access to the folder?"
        )


def _kinds(*, weights: bool, logs: bool, orphans: bool) -> set[Surplus]:
    from emabench.artifacts.pruning import Surplus

    asked = {Surplus.WEIGHTS: weights, Surplus.LOGS: logs, Surplus.ORPHAN: orphans}
    return {kind for kind in Surplus if asked.get(kind, True)}


def _is_readable(checkpoint: Path) -> bool:
    from emabench.errors import CheckpointError
    from emabench.training.checkpoint import load_checkpoint

    try:
        load_checkpoint(checkpoint)
    except CheckpointError:
        return False
    return True
