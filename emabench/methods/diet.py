"""DIET: every image is a class of its own.

Balestriero, "Unsupervised Learning on a DIET: Datum IndEx as Target Free of Self-Supervision,
Reconstruction, Projector Head", arXiv 2302.10260; Ibrahim et al., arXiv 2406.10743.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from emabench.methods._classifier import Classifier


class DIET(Classifier):
    """DIET: a linear classifier of all training images; one view, no projector, no target."""

    class Options(Classifier.Options):
        """Label smoothing."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.8

    labels: ClassVar[Literal["classes", "images"] | None] = "images"
