"""How much the gradient at the output of every block fluctuates from step to step.

The stability analysis of Pham et al. (arXiv 2208.05744): the last blocks fluctuate most, and an
averaged target calms them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from emabench.records import FEWEST_GRADIENT_SAMPLES

NORM, SAMPLE_NORM, COSINE = "grad_norm", "grad_sample_norm", "grad_cosine"
QUANTITIES = (NORM, SAMPLE_NORM, COSINE)
"""What is measured, by the names of the metrics; see ``GradientMonitor``."""


class GradientMonitor:
    """Measures the gradient of the objective at block outputs, on pairs of adjacent steps.

    With G_m the gradient of the objective, a mean over M views, with respect to a block's output
    for view m, the gradient of that view's own share is g_m = M · G_m. Values in float32:

    - ``grad_norm``: the norm of the mean of all g_m;
    - ``grad_sample_norm``: the mean of the norms of the g_m;
    - ``grad_cosine``: the cosine between the mean gradients of the two steps of a pair.

    All other steps are left alone. Nothing waits for the device before the end of an epoch.

    Args:
        blocks: names of the blocks of the encoder, first to last.
        every: steps from one pair to the next, at least 2; None measures nothing.
        mean: of a tensor over the processes that train together, each with a part of the batch and
            the gradients of its part times their number.
        of_tokens: whether the outputs are tokens [N, T, D], of other patches in every image: then
            their gradients are summed over the tokens, as for a shift of all of them.
    """

    def __init__(
        self,
        blocks: Sequence[str],
        every: int | None,
        mean: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        *,
        of_tokens: bool = False,
    ) -> None:
        self._mean, self._of_tokens = mean, of_tokens
        self._blocks, self._every = tuple(blocks), every
        self._samples: dict[str, list[Tensor]] = defaultdict(list)
        self._previous: dict[str, Tensor] = {}

    def wants(self, step: int) -> bool:
        """Return whether a global step, counted from 0, is one of a pair."""
        return self._every is not None and step % self._every < 2

    def watch(self, passes: Sequence[Sequence[Tensor]]) -> None:
        """Have the gradients of activations kept; to be called before the backward pass.

        Args:
            passes: h0 … hn of each pass of the online network.
        """
        for activations in passes:
            for activation in activations[1:]:
                if activation.requires_grad:
                    activation.retain_grad()

    @torch.no_grad()
    def measure(self, passes: Sequence[Sequence[Tensor]]) -> None:
        """Measure the kept gradients; to be called after the backward pass, once a step."""
        means: dict[str, Tensor] = {}
        for index, block in enumerate(self._blocks, start=1):
            kept = [activations[index].grad for activations in passes]
            gradients = [
                (each.float().sum(dim=1) if self._of_tokens else each.float()).flatten(1)
                for each in kept
                if each is not None
            ]
            if not gradients:  # a block without weights, before all others
                continue
            mean = self._mean(torch.stack([each.sum(dim=0) for each in gradients]).sum(dim=0))
            norms = [torch.linalg.vector_norm(gradient, dim=1).sum() for gradient in gradients]
            self._samples[f"{NORM}:{block}"].append(torch.linalg.vector_norm(mean))
            self._samples[f"{SAMPLE_NORM}:{block}"].append(self._mean(torch.stack(norms).sum()))
            if block in self._previous:
                cosine = F.cosine_similarity(self._previous[block], mean, dim=0)
                self._samples[f"{COSINE}:{block}"].append(cosine)
            means[block] = mean
        # The second step of a pair is compared with the first, and with nothing else.
        self._previous = {} if self._previous else means

    def end_epoch(self) -> dict[str, float]:
        """Return the figures of the epoch by metric name, and begin the next one.

        For each quantity and block: the mean (``grad_norm:layer4``), of two samples or more their
        standard deviation (``grad_norm_sd:layer4``), and of four or more the coefficient of
        variation (``grad_norm_cv:layer4``).
        """
        figures: dict[str, float] = {}
        for name, samples in self._samples.items():
            quantity, _, block = name.partition(":")
            values = torch.stack(samples).cpu().double()
            mean = values.mean().item()
            figures[name] = mean
            if len(values) > 1:
                spread = values.std().item()
                figures[f"{quantity}_sd:{block}"] = spread
                if mean and len(values) >= FEWEST_GRADIENT_SAMPLES:
                    figures[f"{quantity}_cv:{block}"] = spread / abs(mean)
        self._samples.clear()
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Return the samples of the epoch so far, for a checkpoint."""
        samples = {name: torch.stack(values) for name, values in self._samples.items()}
        return {"samples": samples, "previous": dict(self._previous)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue where ``state_dict`` was taken, with the gradients on a device."""
        self._samples = defaultdict(list)
        for name, values in state["samples"].items():
            self._samples[name] = list(values.to(device).unbind())
        self._previous = {name: mean.to(device) for name, mean in state["previous"].items()}
