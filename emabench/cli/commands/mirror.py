"""``emabench mirror``: runs of the store in a tracker that people use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.completion import complete_runs
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    SmokeOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.tracking import tracker_names

if TYPE_CHECKING:
    from emabench.tracking._mirror import MirrorPass

PANEL = "Read"


def command(
    tracker: Annotated[
        str, typer.Argument(metavar="TRACKER", help=f"One of {', '.join(tracker_names())}.")
    ],
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            show_default=False,
            help="Ids, or @last; by default all runs that have begun.",
            autocompletion=complete_runs,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PLACE",
            help="Where to write; by default the tracker's own in this folder.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on while there are runs to come or to end.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval", min=0.1, metavar="SECONDS", help="Time between two looks of --follow."
        ),
    ] = 10.0,
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write runs into a tracker: spec, metrics by step, results, costs, group and seed.

    Reads the store only, never holds up a worker, and uses no network. What the tracker has already
    is not written again, so it can be repeated at any time. With --follow it goes on until all runs
    are finished, or Ctrl-C.

    Examples:
        emabench mirror tensorboard
        emabench mirror tensorboard --follow --where method=moco
        emabench mirror mlflow @last -o runs/mlflow.db
        emabench mirror wandb --study projector-vs-full --json
    """
    from emabench.cli.show.mirrors import MirrorTeller
    from emabench.cli.show.watch import leave, looks
    from emabench.records import RunRecord
    from emabench.store import RunStore
    from emabench.tracking import check_tracker, open_tracker
    from emabench.tracking._mirror import Mirror

    query = run_query(where, ids=ids, name=name, study=study, smoke=smoke)
    check_tracker(tracker)
    RunStore.open(db, mode="read").close()  # before the place is made
    with open_tracker(tracker, output) as opened:
        mirror, teller = Mirror(opened), MirrorTeller(opened, json=json, follow=follow)

        def is_wanted(run: RunRecord) -> bool:
            return smoke or bool(ids) or not run.smoke

        def look() -> MirrorPass:
            # Not held open: the last writer could not leave one plain file behind.
            with RunStore.open(db, mode="read") as store:
                found = store.runs(query.with_smoke)
                teller.smoke = sum(not is_wanted(run) for run in found)
                return mirror.update(filter(is_wanted, found), store.metrics)

        try:
            if not follow:
                teller.tell(look())
                return
            for brought, failure in looks(look, interval):
                if failure is not None:
                    teller.note(f"not up to date: {failure}")
                    continue
                teller.tell(brought)
                if brought.is_last:
                    return
        except KeyboardInterrupt:
            if not follow:
                raise
            leave()
