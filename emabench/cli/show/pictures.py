"""A picture on the command line: which runs, which file, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emabench.cli.app.console import err, print_cautions, print_json
from emabench.cli.options.shared import where_filters

if TYPE_CHECKING:
    from emabench.records import RunRecord
    from emabench.report.figures._picture import Picture
    from emabench.store import RunStore


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


def draw_picture(picture: Picture, choice: RunChoice, output: Path, *, json: bool) -> None:
    """Read the runs, draw them, and say so.

    Args:
        picture: which, with its options.
        choice: the runs.
        output: the file.
        json: whether the values that are drawn are printed.
    """
    from emabench.analysis.cautions import cautions_of
    from emabench.analysis.selection import select
    from emabench.report.figures._sheet import check_path, source_line
    from emabench.report.stored_values import read_measured
    from emabench.store import RunStore, store_label

    check_path(output)
    with RunStore.open(choice.db, mode="read") as store:
        named, found = bool(choice.ids), choice.find(store)
        arms = select(found, smoke=choice.smoke or named, profiled=named, to="draw")
        values = read_measured(store, arms.runs, picture.metrics)
        if picture.points:  # all: a name that no run holds is answered with those that they hold
            points = {run.id: store.metrics(run.id) for run in arms.runs}
            values = replace(values, points=points)
    shown = picture.gather(arms, values)
    source = source_line(arms.runs, store_label(choice.db), choice.words())
    picture.draw(shown, output, source=source)
    if json:
        head = {"schema_version": 1, "kind": picture.name()}
        print_json({**head, "file": str(output), "source": source, **shown.to_json()})
    print_cautions((), cautions_of(arms.runs, with_costs=picture.has_times))
    print_cautions(shown.notes)
    err().print(f"{output} written")
