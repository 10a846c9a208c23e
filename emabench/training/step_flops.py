"""The floating-point operations of one training step, counted without computing anything."""

from __future__ import annotations

import torch

from emabench.cost.flops import count_flops, shapes_only
from emabench.training.learner import Learner

_LATE = 1_000_000
"""An epoch after all that a method freezes for a while."""


def step_flops(learner: Learner, batch_size: int) -> int | None:
    """Return the operations of forward and backward pass of a batch, one multiply-add = 2.

    They are those of late epochs, when only what is never trained is frozen.

    Optimiser, EMA update and augmentation are element-wise and not counted, nor is the probe.

    Args:
        learner: in the mode it trains in; it is left as it is.
        batch_size: images in a step.

    Returns:
        None where there is no step, or where a loss asks for the values of its tensors.
    """
    if not learner.method.trains:
        return None
    device = next(learner.parameters()).device
    with torch.random.fork_rng(devices=[]), shapes_only(learner) as shapes:
        views = {
            view: torch.empty((batch_size, 3, side, side), device=device)
            for view, side in learner.sizes.items()
        }
        labels = torch.zeros(batch_size, dtype=torch.int64, device=device)

        shapes.freeze(_LATE)

        def step() -> None:
            shapes(views, labels).objective.backward()

        try:
            return count_flops(step)
        except RuntimeError:  # of the tensors without content
            return None
