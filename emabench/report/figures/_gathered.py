"""A picture of the runs of a store: its numbers, where they come from, and what to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emabench.analysis.cautions import Caution, cautions_in_json, cautions_of, outdated_figures
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.selection import Arms, select
from emabench.records import RunQuery, RunRecord, RunValues, WantedValues
from emabench.report.figures._crowded import about_arms
from emabench.report.figures._picture import Drawn, Picture
from emabench.report.figures._sheet import source_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class GatheredPicture:
    """The numbers of a picture.

    Attributes:
        picture: which, with its options.
        shown: its numbers.
        source: where they come from.
        about_arms: what to know of the arms, a line each.
        cautions: what the reader must know before believing them.
    """

    picture: Picture
    shown: Drawn
    source: str
    about_arms: tuple[str, ...]
    cautions: tuple[Caution, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the numbers and of the arms, a line each."""
        return (*self.shown.notes, *self.about_arms)

    def figure(self) -> Figure:
        """Draw it."""
        return self.picture.draw(self.shown, source="\n".join([*self.about_arms, self.source]))

    def to_json(self) -> dict[str, Any]:
        """Return what is drawn as plain values."""
        return {
            "schema_version": 1,
            "kind": self.picture.name(),
            "source": self.source,
            **self.shown.to_json(),
            **cautions_in_json(self.cautions),
            "notes": list(self.notes),
        }


def values_of_picture(picture: Picture) -> WantedValues:
    """Return what the store is asked for beside the records of the runs."""
    # Points of all names: one that no run holds is answered with those that they hold.
    return wanted_values(picture.metrics, None if picture.points else ())


def gather_picture(
    picture: Picture, runs: Sequence[RunRecord], values: RunValues, query: RunQuery, store: str
) -> GatheredPicture:
    """Gather the numbers of a picture.

    Args:
        picture: which, with its options.
        runs: of any state, newest last.
        values: of them, see ``values_of_picture``.
        query: how they were chosen; those named by id are drawn of whatever kind they are.
        store: the label of the store.

    Raises:
        NotFoundError: no run is left to draw, or none holds what is shown.
        UsageError: an option cannot be read, or options do not go together.
    """
    named = bool(query.ids)
    arms = select(runs, smoke=query.smoke or named, profiled=named, to="draw")
    shown = picture.gather(arms, MetricValues.of(values))
    cautions = cautions_of(arms.runs, with_costs=picture.has_times)
    cautions += outdated_figures(arms.outdated, (metric.name for metric in picture.metrics))
    return _gathered(picture, shown, arms, cautions, source_line(arms.runs, store, query.words()))


def gather_compared(
    picture: Picture, comparison: ArmComparison, query: RunQuery, store: str
) -> GatheredPicture:
    """Gather the numbers of a picture that shows a comparison.

    Args:
        picture: which, with its options.
        comparison: the answer to what it asks.
        query: how the runs were chosen.
        store: the label of the store.

    Raises:
        NotFoundError: the comparison holds nothing to draw.
    """
    shown, arms = picture.gather_comparison(comparison), comparison.arms
    source = source_line(arms.runs, store, query.words())
    return _gathered(picture, shown, arms, comparison.cautions, source)


def _gathered(
    picture: Picture, shown: Drawn, arms: Arms, cautions: Sequence[Caution], source: str
) -> GatheredPicture:
    about = about_arms(arms) if picture.names_arms else arms.together
    return GatheredPicture(picture, shown, source, tuple(about), tuple(cautions))
