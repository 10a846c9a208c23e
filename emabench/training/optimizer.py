"""The optimiser and its learning rate, both from timm."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn

from emabench.device import Device
from emabench.errors import SpecError, UnknownNameError, first_line
from emabench.spec import OptimizerSpec, ScheduleSpec
from emabench.spec.scope import PROJECTOR

_FUSED = ("sgd", "momentum", "adam", "adamw")
"""Optimisers that torch can run as one kernel over all parameters."""


def build_optimizer(
    spec: OptimizerSpec,
    model: nn.Module,
    batch_size: int,
    constant_lr: Collection[str] = (),
    predictor: str | None = None,
) -> torch.optim.Optimizer:
    """Build a timm optimiser over the parameters of a model.

    Args:
        spec: the optimiser.
        model: what it trains.
        batch_size: images per step.
        constant_lr: names of modules whose parameter groups get ``constant_lr: True``, which
            ``LearningRate`` keeps at the peak.
        predictor: name of the module whose learning rate ``predictor_lr`` multiplies.

    Plain ``sgd`` is without Nesterov's acceleration unless ``options`` ask for it: the published
    recipes are, timm's own default is not.

    Raises:
        UnknownNameError: timm has no such optimiser.
        SpecError: the optimiser does not take an option, would not do what it is for, or needs
            what is not there.
    """
    known = [str(name) for name in list_optimizers()]
    if spec.name not in known:
        raise UnknownNameError("optimizer", spec.name, known)
    if get_optimizer_info(spec.name).second_order:
        raise SpecError(
            f"optimizer {spec.name} needs second derivatives, which the training does not compute",
            hint="choose a first-order one, such as adamw",
        )
    options: dict[str, Any] = {"nesterov": False} if spec.name == "sgd" else {}
    device = next(model.parameters()).device.type
    # The fused step knows no dampening of the first gradient alone.
    if spec.name in _FUSED and device in ("cpu", "cuda") and not spec.options.get("dampening"):
        options["fused"] = True
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            _groups(spec, model, constant_lr, predictor),
            opt=spec.name,
            lr=peak_lr(spec, batch_size),
            weight_decay=spec.weight_decay,
            momentum=spec.momentum,
            **(options | spec.options),
        )
    except Exception as error:  # it checks neither its options nor the machine
        reason = first_line(error)
        raise SpecError(
            f"optimizer {spec.name} cannot be built: {reason}",
            hint="check optimizer.options, and what the optimiser needs from the machine",
        ) from error
    never = spec.weight_decay == 0 and not spec.final_weight_decay
    if optimizer.defaults.get("always_adapt") is False and never:
        raise SpecError(
            f"optimizer {spec.name} does not adapt its steps to the weights at weight_decay 0",
            hint="set optimizer.options.always_adapt=true, or a weight_decay above 0",
        )
    fused = bool((options | spec.options).get("fused"))
    if fused and isinstance(optimizer, torch.optim.SGD) and spec.momentum:
        optimizer.register_step_pre_hook(_begin_momentum)
    return optimizer


def check_device(spec: OptimizerSpec, kind: str) -> None:
    """Check that an optimiser of another package works on a kind of device.

    Raises:
        SpecError: it does not.
    """
    implementation = get_optimizer_info(spec.name).opt_class
    package = implementation.partition(".")[0] if isinstance(implementation, str) else None
    if package is not None and kind != "cuda":
        raise SpecError(
            f"optimizer {spec.name} of {package} needs a CUDA device, not {kind}",
            hint="choose --device cuda, or one of timm's own such as sgd or adamw",
        )


def warmup_note(
    schedule: ScheduleSpec, epochs: int, steps_per_epoch: int, max_steps: int | None
) -> str | None:
    """Say that a run ends before its learning rate is at the peak; None if it does not."""
    steps = epochs * steps_per_epoch
    total = steps if max_steps is None else min(steps, max_steps)
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if not total or warmup < total:
        return None
    return (
        f"the warm-up of {warmup} steps is as long as the run of {total}: the learning rate never "
        "stays at its peak; lower schedule.warmup_epochs"
    )


def _begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give a parameter that is trained from now on a momentum of zero, as good as none.

    Fused, SGD cannot begin with some parameters while others have theirs: a layer that was frozen.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter] if parameter.grad is not None else None
            if state is not None and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def peak_lr(spec: OptimizerSpec, batch_size: int) -> float:
    """Return the learning rate after the warm-up, scaled linearly with the batch."""
    return spec.lr if spec.lr_batch is None else spec.lr * batch_size / spec.lr_batch


def _groups(
    spec: OptimizerSpec,
    model: nn.Module,
    constant_lr: Collection[str],
    predictor: str | None,
) -> list[dict[str, Any]]:
    """Group the parameters by whether they take weight decay, and by their learning rate."""
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    factors = _factors(spec, model)
    for name, parameter in model.named_parameters():
        decays = spec.decay_bias_and_norm or parameter.ndim > 1
        constant = any(name.startswith(f"{module}.") for module in constant_lr)
        predicts = predictor is not None and name.startswith(f"{predictor}.")
        factor = spec.predictor_lr if predicts else factors.get(_block_of(name), 1.0)
        groups.setdefault((decays, constant, factor), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": spec.weight_decay if decays else 0.0,
            "decays": decays,
            "constant_lr": constant,
            "lr_scale": factor,  # timm's schedule multiplies by it
        }
        for (decays, constant, factor), parameters in groups.items()
    ]


def _factors(spec: OptimizerSpec, model: nn.Module) -> dict[str | None, float]:
    """Return the factor of each block of the backbone on the learning rate."""
    names = dict.fromkeys(_block_of(name) for name, _ in model.named_parameters())
    backbone = [name for name in names if name not in (None, PROJECTOR)]
    count = len(backbone)
    return {name: spec.layer_decay ** (count - index) for index, name in enumerate(backbone)}


def _block_of(parameter: str) -> str | None:
    """Return the block of the encoder that a parameter of the online network belongs to."""
    start = "encoder.blocks."
    inside = parameter.startswith(start)
    return parameter.removeprefix(start).partition(".")[0] if inside else None


def held_rates(
    spec: OptimizerSpec, optimizer: torch.optim.Optimizer, device: Device
) -> list[Tensor] | None:
    """Return tensors for the learning rates of the groups; None: they are plain numbers.

    An optimiser gets them if it takes the same steps with them, bit for bit, as 20 steps of each
    show in the tests. They are in float64, as plain numbers are: AdamW corrects them for its first
    steps. LARS divides its trust by them, which is in float32, and the fused kernels of a GPU read
    nothing else.

    Args:
        spec: the optimiser.
        optimizer: of ``build_optimizer``.
        device: says whether its steps are captured.
    """
    told = optimizer.defaults
    fused = spec.name in _FUSED and bool(told.get("fused"))
    trusts = spec.name in ("lars", "larc") and told.get("foreach") is None
    if not (fused or trusts):
        return None
    dtype = torch.float32 if trusts or device.kind == "cuda" else torch.float64
    held = [device.hold(group["lr"]) for group in optimizer.param_groups]
    return [each.to(dtype) for each in held if each is not None] or None


class WeightDecay:
    """Half a cosine from the first penalty to the last one, over the global step, without state.

    Args:
        spec: the optimiser; without a final penalty nothing is ever changed.
        optimizer: of ``build_optimizer``.
        total_steps: optimiser steps of the whole run.
    """

    def __init__(
        self, spec: OptimizerSpec, optimizer: torch.optim.Optimizer, total_steps: int
    ) -> None:
        self._first, self._last = spec.weight_decay, spec.final_weight_decay
        self._optimizer, self._total_steps = optimizer, total_steps

    def set(self, step: int) -> None:
        """Give every group that takes weight decay that of a global step, counted from 0."""
        if self._last is None:
            return
        progress = min(1.0, step / max(1, self._total_steps - 1))
        value = self._last - (self._last - self._first) * (1 + math.cos(math.pi * progress)) / 2
        for group in self._optimizer.param_groups:  # a loaded state brings new ones
            if group["decays"]:
                group["weight_decay"] = value


class LearningRate:
    """Linear warm-up, then cosine or constant, over the global step; it has no state of its own.

    Args:
        spec: the schedule.
        optimizer: of ``build_optimizer``; its groups with ``constant_lr`` stay at the peak.
        steps_per_epoch: optimiser steps of an epoch.
        total_steps: optimiser steps of the whole run.
        held: of ``held_rates``: filled in place and never replaced.
    """

    def __init__(
        self,
        spec: ScheduleSpec,
        optimizer: torch.optim.Optimizer,
        steps_per_epoch: int,
        total_steps: int,
        held: Sequence[Tensor] | None = None,
    ) -> None:
        self._optimizer, self._held = optimizer, held
        self._peak = optimizer.param_groups[0]["lr"]
        warmup = min(round(spec.warmup_epochs * steps_per_epoch), total_steps)
        self._schedule = CosineLRScheduler(
            optimizer,
            t_initial=max(2, total_steps - warmup),
            lr_min=self._peak if spec.kind == "constant" else spec.final_lr,
            warmup_t=warmup,
            warmup_lr_init=spec.warmup_lr,
            warmup_prefix=True,
            t_in_epochs=False,
        )

    def set(self, step: int) -> None:
        """Give every parameter group the learning rate of a global step, counted from 0."""
        self._schedule.step_update(step)
        for group in self._optimizer.param_groups:  # a loaded state brings new ones
            if group["constant_lr"]:
                group["lr"] = self._peak * group.get("lr_scale", 1.0)
        if self._held is not None:  # the schedule and a loaded state put numbers of their own there
            for group, rate in zip(self._optimizer.param_groups, self._held, strict=True):
                group["lr"] = rate.fill_(group["lr"])
