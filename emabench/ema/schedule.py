"""The EMA decay as a function of the global step."""

from __future__ import annotations

import math

from emabench.spec import EmaSpec


class DecaySchedule:
    """Constant, or a half cosine from the base decay to the final one (BYOL, arXiv 2006.07733).

    It has no state: the decay follows from the global step, so that a resumed run continues.

    Args:
        spec: base decay, final decay and kind.
        total_steps: optimiser steps of the whole run.
        batch_size: images per step: with a batch that the decay is meant for, it is raised to the
            power of the ratio (Busbridge et al., "How to Scale Your EMA", arXiv 2307.13813).
    """

    def __init__(self, spec: EmaSpec, total_steps: int, batch_size: int) -> None:
        self._spec = spec
        self._total_steps = max(1, total_steps)
        self._power = 1.0 if spec.decay_batch is None else batch_size / spec.decay_batch

    def __call__(self, step: int) -> float:
        """Return the decay at a global step, counted from 0; the last step has the final decay."""
        base, final = self._spec.decay, self._spec.final_decay
        decay = base
        if self._spec.schedule == "cosine":
            progress = min(1.0, step / max(1, self._total_steps - 1))
            decay = final - (final - base) * (1 + math.cos(math.pi * progress)) / 2
        return decay if self._power == 1 else decay**self._power
