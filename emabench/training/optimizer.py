"""The optimiser and its learning rate, both from timm."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import CosineLRScheduler
from torch import nn

from emabench.errors import SpecError, UnknownNameError
from emabench.spec import OptimizerSpec, ScheduleSpec


def build_optimizer(
    spec: OptimizerSpec, model: nn.Module, batch_size: int
) -> torch.optim.Optimizer:
    """Build a timm optimiser over the parameters of a model.

    Plain ``sgd`` is without Nesterov's acceleration unless ``options`` ask for it: the published
    recipes are, timm's own default is not.

    Raises:
        UnknownNameError: timm has no such optimiser.
        SpecError: the optimiser does not take an option.
    """
    known = [str(name) for name in list_optimizers()]
    if spec.name not in known:
        raise UnknownNameError("optimizer", spec.name, known)
    options: dict[str, Any] = {"nesterov": False} if spec.name == "sgd" else {}
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            model,
            opt=spec.name,
            lr=peak_lr(spec, batch_size),
            weight_decay=spec.weight_decay,
            momentum=spec.momentum,
            filter_bias_and_bn=not spec.decay_bias_and_norm,
            **(options | spec.options),
        )
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"optimizer {spec.name} cannot be built: {error}", hint="check optimizer.options"
        ) from error
    return optimizer


def peak_lr(spec: OptimizerSpec, batch_size: int) -> float:
    """Return the learning rate after the warm-up, scaled linearly with the batch."""
    return spec.lr if spec.lr_batch is None else spec.lr * batch_size / spec.lr_batch


def build_schedule(
    spec: ScheduleSpec, optimizer: torch.optim.Optimizer, steps_per_epoch: int, total_steps: int
) -> CosineLRScheduler:
    """Build linear warm-up and cosine over the global step; it has no state of its own.

    ``schedule.step_update(step)`` sets the learning rate of a global step, counted from 0.
    """
    warmup = min(round(spec.warmup_epochs * steps_per_epoch), total_steps)
    peak = optimizer.param_groups[0]["lr"]
    return CosineLRScheduler(
        optimizer,
        t_initial=max(2, total_steps - warmup),
        lr_min=peak if spec.kind == "constant" else spec.final_lr,
        warmup_t=warmup,
        warmup_lr_init=spec.warmup_lr,
        warmup_prefix=True,
        t_in_epochs=False,
    )
