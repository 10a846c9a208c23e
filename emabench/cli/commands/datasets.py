"""``emabench datasets``: the data sets and where they come from."""

from __future__ import annotations

from dataclasses import asdict

from emabench.cli.options.output_forms import JsonOption

PANEL = "Look things up"


def command(json: JsonOption = False) -> None:
    """List the data sets: size, source and licence.

    Examples:
        emabench datasets
        emabench run --dataset folder --data-dir images
    """
    from rich import box
    from rich.table import Table

    from emabench.cli.app.console import out, print_json
    from emabench.data.images import list_datasets

    found = list_datasets()
    if json:
        print_json({"schema_version": 1, "datasets": [asdict(each) for each in found]})
        return
    table = Table(box=box.SIMPLE_HEAD)
    for header in ("name", "classes", "train", "test", "pixels"):
        table.add_column(header, justify="left" if header == "name" else "right", no_wrap=True)
    for header in ("source", "licence", "description"):
        table.add_column(header)
    for each in found:
        counts = (each.classes, each.train, each.test, each.image_size)
        numbers = ("any" if count is None else f"{count:,}" for count in counts)
        table.add_row(each.name, *numbers, each.source, each.licence, each.description)
    out().print(table)
