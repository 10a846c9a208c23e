"""The question of a comparison as it is typed, and the flags that a page takes it from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

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
JoinStudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Study to add the runs to."),
]


@dataclass(frozen=True)
class Asked:
    """The question as it was typed; what is None is the study's, or the default."""

    metric: str | None = None
    by: str | None = None
    baseline: str | None = None
    margin: tuple[str, ...] = ()
    interval: Literal["t", "bca"] = "t"
    fail_if: tuple[str, ...] = ()
