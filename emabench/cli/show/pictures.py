"""What the commands that draw have in common: which runs, which file, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from emabench.cli.app.console import err, print_json

if TYPE_CHECKING:
    from emabench.analysis.cautions import Caution
    from emabench.analysis.selection import Arms
    from emabench.records import RunQuery, RunValues, WantedValues

RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN…", help="Ids, or @last; all finished runs if none is given."),
]
PictureOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="The picture: .png, .svg or .pdf."),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Only runs that were given this name.")
]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Take smoke runs too.")]
DataOption = Annotated[bool, typer.Option("--json", help="Print what is drawn as JSON.")]


_WITH_COSTS = ("pareto", "curves", "cost")
"""Pictures with times in them."""


class _Shown(Protocol):
    @property
    def notes(self) -> tuple[str, ...]: ...

    def to_json(self) -> dict[str, Any]: ...


def draw_picture(
    kind: str,
    query: RunQuery,
    db: str,
    output: Path,
    wanted: WantedValues,
    *,
    json: bool,
    gather: Callable[[Arms, RunValues], _Shown],
    draw: Callable[..., None],
) -> None:
    """Read the runs, draw them, and say so.

    Args:
        kind: name of the picture.
        query: the runs.
        db: path or URL of the store.
        output: the file.
        wanted: values beside the records of the runs.
        json: whether the values that are drawn are printed.
        gather: gets what is drawn out of the arms.
        draw: draws that to a path, with the ``source`` below it.
    """
    from emabench.analysis.cautions import cautions_of
    from emabench.analysis.selection import select
    from emabench.report.figures.sheet import check_path, source_line
    from emabench.store import RunStore, store_label

    check_path(output)
    with RunStore.open(db, mode="read") as store:
        stored = store.read(query.with_smoke, wanted)
    named = bool(query.ids)
    arms = select(stored.runs, smoke=query.smoke or named, profiled=named, to="draw")
    shown = gather(arms, stored.values)
    source = source_line(arms.runs, store_label(db), query.words())
    draw(shown, output, source=source)
    if json:
        head = {"schema_version": 1, "kind": kind, "file": str(output), "source": source}
        print_json({**head, **shown.to_json()})
    warn(cautions_of(arms.runs, with_costs=kind in _WITH_COSTS))
    for note in shown.notes:
        err().print(f"note: {note}")
    err().print(f"{output} written")


def warn(cautions: Sequence[Caution]) -> None:
    """Write to stderr what the reader must know."""
    for caution in cautions:
        err().print(f"warning: {caution.message}", style="bold yellow")
        if caution.hint is not None:
            err().print(f"hint: {caution.hint}")
