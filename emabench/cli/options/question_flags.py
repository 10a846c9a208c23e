"""The flags that a page takes the question of its comparison from."""

from __future__ import annotations

from typing import Annotated

import typer

MetricsOption = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME,…", help="As for compare.  [default: top1,throughput]"),
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", metavar="FIELD", help="As for compare.  [default: ema_scope]"),
]
BaselineOption = Annotated[
    str | None, typer.Option("--baseline", metavar="VALUE", help="As for compare.")
]
MarginOption = Annotated[
    list[str] | None,
    typer.Option("--margin", metavar="METRIC=WIDTH", help="As for compare. May be repeated."),
]
