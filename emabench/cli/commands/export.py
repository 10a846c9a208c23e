"""``emabench export``: runs as a file, for another store or program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.output_forms import JsonOption, OverwriteOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    RunsArgument,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.errors import UsageError
from emabench.user_paths import is_there

if TYPE_CHECKING:
    from emabench.records import RunQuery
    from emabench.store.transfer.moving import Export

PANEL = "Keep the store"


def command(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file; - is stdout; .gz compresses it."
        ),
    ],
    ids: RunsArgument = None,
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="Write the training's metrics instead, one value per line."),
    ] = False,
    force: OverwriteOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write runs to a bundle: JSON lines with everything the store knows about them.

    'emabench import' reads it into another store. What their studies planned goes along, and who
    looked; weights, checkpoints and logs are separate files and not part of it.

    With --csv the file is one tidy table for other programs: a line for each metric at each step,
    with id, name, arm ('group') and seed of its run; what is unknown is empty.

    Examples:
        emabench export -o runs.jsonl.gz
        emabench export --csv -o metrics.csv
        emabench export @last -o - | ssh host emabench import -
        emabench export --where method=moco -o moco.jsonl
    """
    from emabench.cli.app.console import err, print_json
    from emabench.store.transfer.moving import STANDARD_STREAM, export_runs
    from emabench.table import counted

    if ids and (where or name is not None or study is not None):
        raise UsageError(
            "give ids, or --where, --name and --study, not both",
            hint="leave one of them out",
        )
    if json and output == STANDARD_STREAM:
        raise UsageError("--json and the file both want stdout", hint="name a file with -o")
    if output != STANDARD_STREAM and is_there(output) and not force:
        raise UsageError(f"{output} exists", hint="overwrite it with --force")
    query = run_query(where, ids=ids, name=name, study=study)
    exporting = _export_metrics if csv else export_runs
    done = exporting(db, output, query, overwrite=force)
    if json:
        exported, left = list(done.written), list(done.unfinished)
        print_json(
            {"schema_version": 1, "file": str(output), "exported": exported, "unfinished": left}
        )
    if done.unfinished:
        err().print(f"note: {counted(len(done.unfinished), 'unfinished run')} left out")
    if done.unreadable:
        err().print(f"note: unreadable runs were left out: {', '.join(done.unreadable)}")
    err().print(f"{counted(len(done.written), 'run')} exported")


def _export_metrics(location: str, file: Path, query: RunQuery, *, overwrite: bool) -> Export:
    """Write the metrics of finished runs as one table of CSV; they do not change any more."""
    from emabench.analysis.metric_values import told_points
    from emabench.report.tables.metrics_table import metrics_table
    from emabench.store import RunStore
    from emabench.store.transfer.moving import exportable, written

    with RunStore.open(location, mode="read") as store:
        runs = {run.id: run for run in store.runs(query.with_smoke)}
        chosen = exportable(list(runs.values()), named=bool(query.ids))
        with written(file, overwrite=overwrite, encoding="utf-8") as stream:
            stream.write(metrics_table([]).to_csv())
            for id in chosen.written:
                rows = metrics_table([(runs[id], told_points(runs[id], store.metrics(id)))])
                stream.write(rows.to_csv().partition("\n")[2])
    return chosen
