"""A kind of picture: its options, what it wants of a store, its numbers and their two drawings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from emabench.analysis.comparison import ArmComparison
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.question import Asked
from emabench.analysis.selection import Arms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = MetricValues()
"""Beside the records of the runs."""

PageFigure = dict[str, Any]
"""What a page draws, as plain values.

``kind``, ``title``, the axes ``x`` and ``y`` (``label``; ``names`` of places where there are any)
and ``series``, or of bars ``names``, ``parts`` and ``totals``.
"""


def option(default: str | None, metavar: str, text: str) -> Any:
    """Declare an option of a picture: a field of its class.

    Help reads the declaration from the source, so that all of it has to be literal.

    Args:
        default: value where none is given; None leaves it open.
        metavar: stands for the value in the help.
        text: of the help.
    """
    return field(default=default, metadata={"metavar": metavar, "help": text})


def left_out(why: str, labels: Sequence[str]) -> list[str]:
    """Return a note on the arms that a picture does not show; none without any."""
    return [f"{why}, left out: {', '.join(labels)}"] if labels else []


class Drawn(Protocol):
    """The numbers of a picture, ready to be drawn."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know, a line each."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""


@dataclass(frozen=True)
class Picture(ABC):
    """One picture with its options; the docstring of its class is the help of its command.

    It shows arms, and defines ``gather``; or the answers of a comparison, and defines ``asked`` and
    ``gather_comparison``.

    Attributes:
        heading: above it on a page.
        caption: what its marks mean.
        places: its rank among the commands, and on a page.
        has_times: whether machines that differ make its numbers unlike.
        names_arms: whether a reader has to tell every arm from the others.
        draw: returns a figure of the numbers, with the ``source`` below them.
        page_figures: returns the same numbers as a page draws them.
    """

    heading: ClassVar[str]
    caption: ClassVar[str]
    places: ClassVar[tuple[int, int]] = (99, 99)
    has_times: ClassVar[bool] = False
    names_arms: ClassVar[bool] = True
    draw: ClassVar[Callable[..., Figure]]
    page_figures: ClassVar[Callable[..., list[PageFigure]]]

    @classmethod
    def name(cls) -> str:
        """Return its name, which is that of its file."""
        return cls.__module__.rpartition(".")[2]

    @property
    def metrics(self) -> list[MetricInfo]:
        """The metrics whose values it wants beside the records of the runs."""
        return []

    @property
    def points(self) -> tuple[str, ...]:
        """The metrics of the training that it wants; one that ends in ``:`` is a beginning."""
        return ()

    @property
    def asked(self) -> Asked | None:
        """The comparison that it shows; None where it shows arms as they are."""
        return None

    @classmethod
    @abstractmethod
    def of_page(cls, metrics: Sequence[MetricInfo], quantity: str) -> Iterator[Self]:
        """Yield those that a page shows.

        Args:
            metrics: that the page compares.
            quantity: of the gradient monitor.
        """

    def gather(self, arms: Arms, values: MetricValues = NOTHING) -> Drawn:
        """Return the numbers of arms.

        Args:
            arms: that are shown.
            values: of ``metrics`` and ``points``, as far as the records do not hold them.

        Raises:
            NotFoundError: no run holds what is shown.
            UsageError: an option cannot be read, or options do not go together.
        """
        raise NotImplementedError

    def gather_comparison(self, comparison: ArmComparison, values: MetricValues = NOTHING) -> Drawn:
        """Return the numbers of a comparison: those of its arms, unless the picture asks itself.

        Raises:
            NotFoundError: it holds none.
            UsageError: as for ``gather``.
        """
        return self.gather(comparison.arms, values)
