"""Supervised training with the labels: what the same budget reaches at best.

The upper bound of a comparison; it is not self-supervised.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from emabench.methods._classifier import Classifier


class Supervised(Classifier):
    """A linear classifier of the classes; one view, no projector, no target. An upper bound."""

    labels: ClassVar[Literal["classes", "images"] | None] = "classes"
