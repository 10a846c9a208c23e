"""``emabench report``: everything about a comparison in one file for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.question_flags import (
    BaselineOption,
    ByOption,
    MarginOption,
    MetricsOption,
)
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    SmokeOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.cli.show.pages import PageQuestion

PANEL = "Read"


def command(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page to write: .html; an older one is overwritten.",
        ),
    ],
    metric: MetricsOption = None,
    by: ByOption = None,
    baseline: BaselineOption = None,
    margin: MarginOption = None,
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a comparison as one HTML file that needs no network: for a colleague with a browser.

    Holds the question, the verdicts, sortable tables, charts, warnings, and every run with its
    spec, environment and the command that repeats it.

    Examples:
        emabench report -o report.html
        emabench report --study projector-vs-full -o report.html
        emabench report --metric knn_top1,total_s --margin knn_top1=0.5 -o report.html
    """
    from emabench.analysis.question import Asked
    from emabench.cli.app.console import err, print_cautions, print_json
    from emabench.report.page.render import check_page, write_page
    from emabench.table import counted

    check_page(output)
    query = run_query(where, name=name, study=study, smoke=smoke)
    asked = Asked(metric, by, baseline, tuple(margin or ()))
    content = PageQuestion(asked, query, db).page()
    size = write_page(content, output)
    if json:
        print_json(
            {
                "schema_version": 1,
                "file": str(output),
                "bytes": size,
                "runs": len(content.views),
                "warnings": [caution.message for caution in content.cautions],
            }
        )
    print_cautions((), content.cautions)
    err().print(f"{output} written, {counted(len(content.views), 'run')}, {size / 1024:.0f} KiB")
