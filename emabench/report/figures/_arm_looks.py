"""What an arm looks like: one colour, mark and dashes in all pictures of the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emabench.analysis.arms import Arm
from emabench.report.figures._sheet import DASHES, MARKERS

PALETTE = (
    "#440154",
    "#482878",
    "#3e4a89",
    "#31688e",
    "#26828e",
    "#1f9e89",
    "#35a567",
    "#5aa33c",
    "#87a01e",
    "#a39300",
    "#b07d00",
    "#b05a00",
)
"""The colours of a page in light mode, so that an arm has one colour on both."""

_STRIDE = 5
"""Neighbours among many lie so many colours apart; it shares no divisor with their number."""


@dataclass(frozen=True)
class ArmLook:
    """The look of one arm, as places in the lists of colours and marks.

    Attributes:
        colour: in ``PALETTE``.
        mark: in ``MARKERS``; modulo their number, its dashes too.
    """

    colour: int
    mark: int

    @property
    def shade(self) -> str:
        """Its colour as a picture takes it."""
        return PALETTE[self.colour]

    @property
    def marker(self) -> str:
        """Its mark as a picture takes it."""
        return MARKERS[self.mark]

    @property
    def dashes(self) -> str:
        """Its dashes as a picture takes them."""
        return DASHES[self.mark % len(DASHES)]

    def to_json(self) -> dict[str, int]:
        """Return it as a page takes it."""
        return {"colour": self.colour, "mark": self.mark}


def arm_looks(arms: Sequence[Arm]) -> dict[str, ArmLook]:
    """Return the look of every arm by its label.

    Args:
        arms: all that were selected, whether or not a picture can show each.
    """
    return looks_of([arm.label for arm in arms])


def looks_of(names: Sequence[str]) -> dict[str, ArmLook]:
    """Return a look for each name, no two alike.

    A few lie far apart in colour. More than there are colours begin again with another mark.
    """
    colours, last = len(PALETTE), len(names) - 1
    looks = {}
    for place, name in enumerate(names):
        spread = round(place * (colours - 1) / max(1, last))
        colour = spread if len(names) <= colours else _STRIDE * place % colours
        looks[name] = ArmLook(colour, (place + place // colours) % len(MARKERS))
    return looks
