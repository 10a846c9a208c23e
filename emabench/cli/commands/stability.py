"""``emabench stability``: how the gradient of every block fluctuates, per EMA scope."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.app.console import err, print_cautions, print_json
from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    RunsArgument,
    SmokeOption,
    StudyOption,
    WhereOption,
    run_query,
)

PANEL = "Read"


def command(
    runs: RunsArgument = None,
    quantity: Annotated[
        str,
        typer.Option(
            "--quantity",
            metavar="NAME",
            help="grad_norm, grad_sample_norm or grad_cosine; with _sd or _cv its spread within "
            "an epoch.",
        ),
    ] = "grad_norm_cv",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Draw it into this file: .png, .svg or .pdf."
        ),
    ] = None,
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    each_run: Annotated[
        bool, typer.Option("--runs", help="Show every run, one column per block.")
    ] = False,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show how the gradient at the output of every block fluctuates during training.

    One column per arm, that is, per EMA scope and anything else that differs besides the seed: the
    mean over epochs, ± the standard deviation over seeds. With --runs, one line per run.

    Examples:
        emabench stability
        emabench stability --where method=moco -o stability.png
        emabench stability 3fa9 81c2 --quantity grad_cosine
    """
    from emabench.analysis.curves.stability import stability
    from emabench.analysis.selection import select
    from emabench.cli.show.tables import print_table
    from emabench.records import WantedValues
    from emabench.report.figures._crowded import about_arms
    from emabench.report.figures._sheet import check_path, save_figure, source_line
    from emabench.report.figures.stability import draw_stability
    from emabench.store import RunStore, store_label
    from emabench.table import choose_format

    form = choose_format(json=json, csv=csv, markdown=markdown)
    if output is not None:
        check_path(output)
    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    with RunStore.open(db, mode="read") as store:
        stored = store.read(query.with_smoke, WantedValues(points=(f"{quantity}:",)))
    named = bool(runs)
    arms = select(stored.runs, smoke=smoke or named, profiled=named, unfinished=named)
    shown = stability(arms, stored.values.points.__getitem__, quantity)
    notes, exact = [*shown.notes, *arms.together], form == "csv"
    if form == "json":
        print_json({**shown.to_json(), "notes": notes})
    elif each_run:
        print_table(shown.to_run_table(exact=exact), quantity, form=form)
    else:
        print_table(shown.to_data() if exact else shown.to_table(), quantity, form=form)
    print_cautions(notes)
    if output is not None:
        source = source_line(arms.runs, store_label(db), query.words())
        figure = draw_stability(shown, source="\n".join([*about_arms(arms), source]))
        save_figure(figure, output)
        err().print(f"{output} written")
