"""The spec of a bench: which EMA scopes take turns, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from emabench.spec.model import SpecModel
from emabench.spec.pretrain import EmaSpec


class BenchSpec(SpecModel):
    """What a bench measures; all else of its steps is as in the pretraining beside it."""

    arms: Annotated[tuple[EmaSpec, ...], Field(min_length=1)]
    """They differ in their EMA and in nothing else; the first is what the others are compared
    with. Set by ``emabench bench`` alone, as all of ``bench`` is."""
    steps: Annotated[int, Field(ge=2)] | None = None
    """Timed steps of each arm; None: as many as ``seconds`` allow."""
    seconds: Annotated[float, Field(gt=0)] = 15.0
    """Time for all timed steps together; at least four steps of each arm are made all the same."""
