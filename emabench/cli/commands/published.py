"""``emabench published``: accuracies that others published, with the settings they belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption

PANEL = "Look things up"


def command(
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="NAME", help="Only this method, and its variants."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="Only this backbone.")
    ] = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """List published accuracies: method, data, backbone, epochs, protocol, top-1, and the source.

    Names are read in any spelling: cifar10 is CIFAR-10. 'emabench compare --published' sets runs
    beside the nearest of them.

    Examples:
        emabench published --method byol --dataset cifar10
        emabench published --backbone resnet50 --csv
    """
    from emabench.analysis.published.published_rows import find_published, plain_values
    from emabench.cli.app.console import err, print_json
    from emabench.cli.show.tables import print_table
    from emabench.report.tables.published_table import published_table
    from emabench.table import choose_format

    form = choose_format(json=json, csv=csv, markdown=markdown)
    rows = find_published(method, dataset, backbone)
    if form == "json":
        print_json({"schema_version": 1, "published": plain_values(rows)})
        return
    if not rows:
        err().print("nothing is published of them together; leave out one of the options")
    if rows or form != "text":
        print_table(published_table(rows, exact=form == "csv"), form=form)
