"""``emabench du``: what the files of the runs take."""

from __future__ import annotations

import typer

from emabench.artifacts.layout import artifacts_folder, pruning_command
from emabench.cli.app.console import err, print_json
from emabench.cli.options.kept_files import ArtifactsOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

PANEL = "Keep the store"


def command(
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Show how much disk space checkpoints, weights and logs take, largest run first.

    Examples:
        emabench du
        emabench du --json
    """
    from emabench.artifacts.disk_usage import disk_usage
    from emabench.artifacts.files import scan_files
    from emabench.cli.show.tables import print_table
    from emabench.report.tables.disk_table import readable_size, usage_table, usage_values
    from emabench.store import RunStore

    folder = artifacts_folder(db, artifacts)
    files = scan_files(folder)
    with RunStore.open(db, mode="read") as store:
        usage = disk_usage(files, store.everything())
    if json:
        print_json({"schema_version": 1, "folder": str(folder), **usage_values(usage)})
        return
    if not files:
        typer.echo(f"{folder} holds no files")
        return
    print_table(usage_table(usage))
    if usage.orphans:
        size = readable_size(sum(usage.orphaned.values()))
        err().print(
            f"hint: {size} belong to jobs that are not in the store: "
            f"{pruning_command(folder, db)} deletes them"
        )
