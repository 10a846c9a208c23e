"""What the commands that draw have in common: which runs, which file, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emabench.cli.app.console import err, print_cautions, print_json

if TYPE_CHECKING:
    from emabench.records import RunQuery
    from emabench.report.figures._picture import Picture


def draw_picture(picture: Picture, query: RunQuery, db: str, output: Path, *, json: bool) -> None:
    """Read the runs, draw them, and say so.

    Args:
        picture: which, with its options.
        query: the runs.
        db: path or URL of the store.
        output: the file.
        json: whether the values that are drawn are printed.
    """
    from emabench.analysis.cautions import cautions_of, outdated_figures
    from emabench.analysis.metric_values import MetricValues, wanted_values
    from emabench.analysis.selection import select
    from emabench.report.figures._sheet import check_path, source_line
    from emabench.store import RunStore, store_label

    check_path(output)
    # Points of all names: one that no run holds is answered with those that they hold.
    wanted = wanted_values(picture.metrics, None if picture.points else ())
    with RunStore.open(db, mode="read") as store:
        stored = store.read(query.with_smoke, wanted)
    named = bool(query.ids)
    arms = select(stored.runs, smoke=query.smoke or named, profiled=named, to="draw")
    shown = picture.gather(arms, MetricValues.of(stored.values))
    source = source_line(arms.runs, store_label(db), query.words())
    picture.draw(shown, output, source=source)
    if json:
        head = {"schema_version": 1, "kind": picture.name()}
        print_json({**head, "file": str(output), "source": source, **shown.to_json()})
    cautions = cautions_of(arms.runs, with_costs=picture.has_times)
    cautions += outdated_figures(arms.outdated, (metric.name for metric in picture.metrics))
    print_cautions((), cautions)
    print_cautions(shown.notes)
    err().print(f"{output} written")
