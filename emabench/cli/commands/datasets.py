"""``emabench datasets``: the data sets and where they come from."""

from __future__ import annotations

from dataclasses import asdict

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption

PANEL = "Look things up"


def command(plugin: PluginOption = None, json: JsonOption = False) -> None:
    """List the data sets: size, source and licence; of plugins, also where they come from.

    Examples:
        emabench datasets
        emabench datasets --plugin dots.py
        emabench run --dataset folder --data-dir images
    """
    from rich import box
    from rich.table import Table

    from emabench.cli.app.console import err, out, print_json
    from emabench.data.images import list_datasets
    from emabench.data.sources.plugged import DATASET_PLUGINS

    found = list_datasets()
    for entry in DATASET_PLUGINS.entries():
        if entry.problem is not None:
            err().print(f"note: {entry.problem}")
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
