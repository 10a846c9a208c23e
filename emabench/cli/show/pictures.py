"""What the commands that draw have in common: which runs, which file, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from emabench.cli.app.console import err, print_json
from emabench.cli.options.run_choice import where_filters

if TYPE_CHECKING:
    from emabench.analysis.cautions import Caution
    from emabench.analysis.selection import Arms
    from emabench.records import RunRecord
    from emabench.store import RunStore

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


@dataclass(frozen=True)
class RunChoice:
    """The runs that a command line asks for: some by id, or all that fit."""

    ids: Sequence[str] | None
    where: Sequence[str] | None
    name: str | None
    study: str | None
    smoke: bool
    db: str

    def find(self, store: RunStore) -> list[RunRecord]:
        """Return the runs, of any state and smoke runs among them, newest last."""
        if self.ids:
            return [store.run(each) for each in dict.fromkeys(self.ids)]
        filters = where_filters(self.where)
        return store.runs(smoke=True, where=filters, name=self.name, study=self.study)

    def words(self) -> list[str]:
        """Return how the runs were chosen, for the line that says the source."""
        words = ["runs chosen by id"] if self.ids else []
        words += [] if self.study is None else [f"study {self.study}"]
        words += [] if self.name is None else [f"name {self.name}"]
        words += [f"where {condition}" for condition in self.where or ()]
        return words + (["with smoke runs"] if self.smoke else [])


_WITH_COSTS = ("pareto", "curves", "cost")
"""Pictures with times in them."""


class _Shown(Protocol):
    @property
    def notes(self) -> tuple[str, ...]: ...

    def to_json(self) -> dict[str, Any]: ...


def draw_picture(
    kind: str,
    choice: RunChoice,
    output: Path,
    *,
    json: bool,
    gather: Callable[[Arms, RunStore], _Shown],
    draw: Callable[..., None],
) -> None:
    """Read the runs, draw them, and say so.

    Args:
        kind: name of the picture.
        choice: the runs.
        output: the file.
        json: whether the values that are drawn are printed.
        gather: gets what is drawn out of the arms.
        draw: draws that to a path, with the ``source`` below it.
    """
    from emabench.analysis.cautions import cautions_of
    from emabench.analysis.selection import select
    from emabench.report.figures.sheet import check_path, source_line
    from emabench.store import RunStore, store_label

    check_path(output)
    with RunStore.open(choice.db, mode="read") as store:
        named = bool(choice.ids)
        found = choice.find(store)
        arms = select(found, smoke=choice.smoke or named, profiled=named, to="draw")
        shown = gather(arms, store)
    source = source_line(arms.runs, store_label(choice.db), choice.words())
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
