"""Plain tables on stdout: for a terminal, or in another form that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import typer

from emabench.cli.app.console import out
from emabench.table import Format, Table, show_value, visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def print_table(
    table: Table, title: str | None = None, *, form: Format = "text", narrow: str | None = None
) -> None:
    """Print a table to stdout.

    Args:
        table: the table.
        title: above it, as text only.
        form: not ``json``, which has another shape than a table.
        narrow: see ``rich_table``.
    """
    if form == "csv":
        typer.echo(table.to_csv(), nl=False)
    elif form == "markdown":
        typer.echo(table.to_markdown(), nl=False)
    elif form == "latex":
        typer.echo(table.to_latex(), nl=False)
    else:
        out().print(rich_table(table, title, narrow=narrow))


def rich_table(table: Table, title: str | None = None, *, narrow: str | None = None) -> RichTable:
    """Return a table for a terminal; brackets in a cell are text, not markup.

    Args:
        table: the table.
        title: above it.
        narrow: header of the column of ids. 80 columns then hold the table: its words fold, ids
            and numbers do not.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=None if title is None else visible(title),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=narrow is not None,
    )
    whole = table.whole if narrow is None else table.right | {narrow}
    for header in table.headers:
        side: Literal["left", "right"] = "right" if header in table.right else "left"
        shown.add_column(
            Text(visible(header)), justify=side, overflow="fold", no_wrap=header in whole
        )
    for row in table.rows:
        shown.add_row(*(Text(show_value(cell)) for cell in row))
    return shown
