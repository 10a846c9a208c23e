"""``emabench datasets``: the data sets and where they come from, and what a path is taken for."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption

if TYPE_CHECKING:
    from emabench.data.recognition import RecognisedData

PANEL = "Look things up"
_NAMED_CLASSES = 8


def command(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATH]",
            show_default=False,
            help="Folder, file or pattern of shards to look at.",
        ),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """List the data sets, or look at one of your own.

    Without PATH: size, source and licence; of plugins, also where they come from. With PATH: what
    the folder or file is taken for, its images, classes and sizes, what would be left out, and the
    command to run; or why it will not work. Images are read and not decoded.

    Examples:
        emabench datasets
        emabench datasets images
        emabench datasets --plugin dots.py
        emabench run --dataset folder --data-dir images
    """
    if path is None:
        _list(json=json)
    else:
        _look(path, json=json)


def _look(path: str, *, json: bool) -> None:
    from emabench.cli.app.console import print_json
    from emabench.data.recognition import recognise

    found = recognise(path)
    command = shlex.join(found.words)
    if json:
        print_json({"schema_version": 1, **asdict(found), "command": command})
        return
    _print(found, command)


def _print(found: RecognisedData, command: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from emabench.cli.app.console import out
    from emabench.table import visible

    named = ", ".join(found.classes[:_NAMED_CLASSES])
    more = ", …" if len(found.classes) > _NAMED_CLASSES else ""
    smallest, largest = (f"{width} x {height}" for width, height in (found.smallest, found.largest))
    rows = [
        ("taken for", found.dataset),
        ("images", f"{found.train:,} for training, {found.test:,} for testing"),
        ("test images", found.split),
        ("classes", f"{len(found.classes):,}: {named}{more}" if found.classes else "none"),
        ("sizes", smallest if smallest == largest else f"{smallest} to {largest}"),
        ("become", f"{found.image_size} x {found.image_size}"),
        *(("left out", note) for note in found.left_out),
        *(("note", note) for note in found.notes),
        ("to run", command),
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    out().print(table)


def _list(*, json: bool) -> None:
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
