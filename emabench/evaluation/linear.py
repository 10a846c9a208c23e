"""A linear probe: multinomial logistic regression on frozen, standardised features.

The L2 penalty is chosen on a held-out part of the *training* images; the test images are looked
at once, by the classifier that was fitted to all training images with the chosen penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from emabench.evaluation.knn import correct_at
from emabench.spec import LinearSpec
from emabench.spec.streams import derive


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        weight: [C, D + 1], the bias in the last column.
        center: mean of the training features [D].
        scale: standard deviation of the training features [D].
        weight_decay: the penalty that was chosen.
        holdout_top1: percent right on the held-out training images with it; None without any.
        edge: ``smallest`` or ``largest`` where the chosen penalty is that of several and better
            than its neighbour, so that one beyond it may be better still.
    """

    weight: Tensor
    center: Tensor
    scale: Tensor
    weight_decay: float
    holdout_top1: float | None
    edge: str | None = None

    def scores(self, features: Tensor) -> Tensor:
        """Return the logits [M, C] of features [M, D]."""
        return _with_bias((features - self.center) / self.scale) @ self.weight.T


def fit_linear_probe(
    spec: LinearSpec, features: Tensor, labels: Tensor, classes: int, seed: int
) -> LinearProbe:
    """Choose the penalty on held-out training images, then fit all of them.

    Args:
        spec: penalties, the held-out share and the bound of iterations.
        features: [N, D] of the training images.
        labels: [N].
        classes: number of classes C.
        seed: of the run; the held-out images are drawn from a stream of their own.
    """
    center, scale = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    inputs = _with_bias((features - center) / scale)
    held_out = _holdout(labels, classes, spec.holdout, seed)
    candidates = sorted(spec.weight_decays, reverse=True)
    if len(set(candidates)) == 1 and not held_out.any():
        decay = candidates[0]
        weight = _fit(inputs, labels, classes, decay, spec.max_iterations, start=None)
        return LinearProbe(weight, center, scale, decay, None)
    start: Tensor | None = None
    scored: list[tuple[float, float]] = []
    fitted: dict[float, Tensor] = {}
    for decay in candidates:
        start = fitted[decay] = _fit(
            inputs[~held_out], labels[~held_out], classes, decay, spec.max_iterations, start=start
        )
        right = correct_at(inputs[held_out] @ start.T, labels[held_out], 1)
        scored.append((int(right.sum()) / len(right) * 100, decay))
    top1, decay = max(scored)
    # The problem is convex: from the fit without the held-out images it is near.
    weight = _fit(inputs, labels, classes, decay, spec.max_iterations, start=fitted[decay])
    return LinearProbe(weight, center, scale, decay, top1, _edge(scored, decay))


def _edge(scored: list[tuple[float, float]], chosen: float) -> str | None:
    """Say at which edge of the penalties the chosen one is; the largest also wins where all tie.

    Args:
        scored: accuracy and penalty, the largest penalty first.
        chosen: one of the penalties.
    """
    (first, largest), *_, (_, smallest) = scored if len(scored) > 1 else scored * 2
    if smallest == largest:
        return None
    if chosen == smallest:
        return "smallest"
    beaten = next(top1 for top1, decay in scored if decay != largest) < first
    return "largest" if chosen == largest and beaten else None


def _with_bias(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)


def _holdout(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Draw the share of every class that is held out: bool [N], at least one image a class."""
    generator = torch.Generator().manual_seed(derive(seed, "holdout"))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(classes):
        members = (labels.cpu() == label).nonzero().flatten()
        count = min(len(members) - 1, max(1, round(share * len(members))))
        if count > 0:
            held_out[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return held_out.to(labels.device)


def _fit(
    inputs: Tensor,
    labels: Tensor,
    classes: int,
    decay: float,
    iterations: int,
    *,
    start: Tensor | None,
) -> Tensor:
    """Minimise mean cross entropy + decay / 2 · ‖weight without bias‖² by L-BFGS."""
    initial = inputs.new_zeros(classes, inputs.shape[1]) if start is None else start
    weight = initial.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=iterations, tolerance_grad=1e-5, tolerance_change=1e-7,
        history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (
            F.cross_entropy(inputs @ weight.T, labels) + decay / 2 * weight[:, :-1].square().sum()
        )
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()
