"""How a command prints and writes what it found."""

from __future__ import annotations

from typing import Annotated

import typer

PriceOption = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour",
        min=0,
        metavar="PRICE",
        help="Price of an hour on the device, in any currency; it is shown, never stored.",
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--force", help="Overwrite the file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
