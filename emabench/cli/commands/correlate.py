"""``emabench correlate``: does one figure predict another one, with EMA and without?"""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.app.console import print_cautions, print_json
from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    SmokeOption,
    StudyOption,
    WhereOption,
    run_query,
)

PANEL = "Read"


def command(
    first: Annotated[
        str, typer.Argument(metavar="FIGURE", help="A result, or a metric: its last value.")
    ] = "loss",
    second: Annotated[str, typer.Argument(metavar="OTHER", help="The same.")] = "top1",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show how far one figure puts the arms in the order of another one, per method and EMA scope.

    Spearman's rank correlation with its 95 % interval. An arm counts once, with the mean of its
    seeds. Arms of other methods have other losses, and are never put in one order.

    Examples:
        emabench correlate
        emabench correlate loss knn_top1 --where method=simclr
        emabench correlate effective_rank top1 --study loss-predicts-accuracy
    """
    from emabench.analysis.curves.correlations import correlations
    from emabench.analysis.selection import select
    from emabench.cli.show.tables import print_table
    from emabench.records import WantedValues
    from emabench.report.tables.correlation_table import correlation_table
    from emabench.store import RunStore
    from emabench.table import choose_format

    form = choose_format(json=json, csv=csv, markdown=markdown)
    query = run_query(where, name=name, study=study, smoke=smoke)
    with RunStore.open(db, mode="read") as store:
        stored = store.read(query.with_smoke, WantedValues(points=(first, second)))
    arms = select(stored.runs, smoke=smoke)
    found = correlations(arms, lambda run: stored.values.points.get(run, ()), first, second)
    if form == "json":
        print_json(found.to_json())
    else:
        print_table(
            correlation_table(found, exact=form == "csv"), f"{first} and {second}", form=form
        )
    print_cautions(found.notes)
