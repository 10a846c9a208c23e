"""``emabench tag``: put words on runs, to find them again."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import err, print_json
from emabench.cli.options.completion import complete_tags
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NamedRunsArgument,
    NameOption,
    StudyOption,
    WhereOption,
)
from emabench.errors import UsageError

PANEL = "Keep the store"


def command(
    tag: Annotated[
        str | None,
        typer.Argument(
            metavar="TAG", help="A word, or several with commas.", autocompletion=complete_tags
        ),
    ] = None,
    runs: NamedRunsArgument = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the tag from the runs instead.")
    ] = False,
    where: WhereOption = None,
    study: StudyOption = None,
    name: NameOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Put a tag on runs, or take it from them; without arguments, list the tags of the store.

    'emabench list --tag TAG' finds them again, and so does --where tag=TAG everywhere.

    Examples:
        emabench tag paper 3fa9 77c1
        emabench tag paper,final --study projector-vs-full
        emabench tag paper 3fa9 --remove
        emabench tag
    """
    from emabench.cli.options.job_ids import existing_store
    from emabench.cli.options.run_choice import named_runs
    from emabench.store import RunStore

    if tag is None:
        if runs or remove or where or study or name:
            raise UsageError("no tag is named", hint="for example emabench tag paper @last")
        with RunStore.open(db, mode="read") as reader:
            _list(reader.tags(), json=json)
        return
    words = tag.split(",")
    with existing_store(db) as store:
        chosen = [run.id for run in named_runs(store, runs, where, study=study, name=name)]
        store.tag(chosen, **{"remove" if remove else "add": words})
        changed = [store.run(run) for run in chosen]
    if json:
        rows = [{"id": run.id, "tags": list(run.tags)} for run in changed]
        print_json({"schema_version": 1, "runs": rows})
        return
    for run in changed:
        typer.echo(f"{run.id}: {', '.join(run.tags) or 'no tags'}")


def _list(tags: dict[str, int], *, json: bool) -> None:
    from emabench.cli.show.tables import print_table
    from emabench.table import Table

    if json:
        rows = [{"tag": tag, "runs": count} for tag, count in tags.items()]
        print_json({"schema_version": 1, "tags": rows})
    elif tags:
        print_table(Table(("tag", "runs"), tuple(tags.items()), right=frozenset({"runs"})))
    else:
        err().print("no tags")
        err().print("hint: emabench tag paper @last puts one on the newest run")
