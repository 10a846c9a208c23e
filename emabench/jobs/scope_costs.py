"""What EMA scopes cost by arithmetic alone: operations of a step, parameters of the copies.

Nothing is trained and nothing is computed; the operations are counted on tensors without content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from emabench.data.load_with_progress import load_data
from emabench.errors import SpecError
from emabench.events import Listener, PhaseProgress
from emabench.experiment import resolve
from emabench.methods import load_method
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import Method, TrainingSet
from emabench.networks.backbone import build_backbone
from emabench.records import PlannedRun
from emabench.spec import ExperimentSpec
from emabench.spec.scope import PROJECTOR
from emabench.training.learner import Learner
from emabench.training.step_flops import step_flops


@dataclass(frozen=True)
class ScopeCost:
    """The cost of one EMA scope.

    Attributes:
        plan: the resolved experiment.
        ema_scope: the canonical scope.
        steps: optimiser steps of the run.
        images: images that they see, each as often as it comes.
        flops_per_step: one multiply-add = 2; None where the loss cannot be counted.
        copied_parameters: parameters of the EMA copies.
        ema_bytes: held by the copies, buffers included.
        ema_bytes_moved: read and written by the update of one step.
    """

    plan: PlannedRun
    ema_scope: str
    steps: int
    images: int
    flops_per_step: int | None
    copied_parameters: int
    ema_bytes: int
    ema_bytes_moved: int

    @property
    def flops(self) -> int | None:
        """Operations of the whole run."""
        return None if self.flops_per_step is None else self.steps * self.flops_per_step


def scope_costs(
    spec: ExperimentSpec,
    scopes: Sequence[str] | None,
    *,
    command: str,
    on_event: Listener = lambda event: None,
) -> list[ScopeCost]:
    """Return the cost of each scope, in their order; two spellings of one are one.

    Args:
        spec: as the user wrote it; its own scope does not count.
        scopes: None: none, the projector, every suffix, and the whole encoder; of a masked
            method none, the last block and the backbone.
        command: the command line.
        on_event: listens.

    Raises:
        UsageError: a name, a scope or a value does not go with the others, or there is nothing
            to train.
        DataError: the images cannot be read.
    """
    method = load_method(spec.pretrain.method.name)
    if not method.trains:
        raise SpecError(
            f"method {spec.pretrain.method.name} trains nothing, so it has no steps to count",
            hint="choose another with --method",
        )
    if scopes is None:
        scopes = list(_scopes_of(method, spec))
    found: dict[str, ScopeCost] = {}
    for number, scope in enumerate(scopes):
        on_event(PhaseProgress("counting operations", number, len(scopes)))
        ema = spec.pretrain.ema.model_copy(update={"scope": scope})
        pretrain = spec.pretrain.model_copy(update={"ema": ema}).with_fresh_weights()
        plan = resolve(
            spec.model_copy(update={"pretrain": pretrain}),
            command=command,
            on_event=on_event,
            evaluates=False,
        )
        if plan.fingerprint not in found:  # two spellings of one scope
            found[plan.fingerprint] = _cost(plan)
    return list(found.values())


def _scopes_of(method: type[Method], spec: ExperimentSpec) -> Iterator[str]:
    """Yield the scopes that a method has, from the smallest to the whole encoder."""
    yield "none"
    if not method.target_views:
        return
    size = load_data(spec.pretrain.data, lambda event: None).image_size
    with torch.random.fork_rng(devices=[]):
        names = build_backbone(spec.pretrain.backbone, size).block_names
    if issubclass(method, MaskedMethod):  # it has no projector, and no scope saves operations
        yield from (names[-1], "backbone")
        return
    yield PROJECTOR
    for name in reversed(names[1:]):
        yield f"from:{name}"
    yield "full"


def _cost(plan: PlannedRun) -> ScopeCost:
    spec = ExperimentSpec.parse(plan.spec).pretrain
    dataset = load_data(spec.data, lambda event: None)
    per_epoch, every = len(dataset.train) // spec.batch_size, spec.ema.every
    steps = plan.steps or 0
    training_set = TrainingSet(len(dataset.train), len(dataset.classes))
    learner = Learner(spec, dataset.image_size, training_set).train()
    return ScopeCost(
        plan=plan,
        ema_scope=spec.ema.scope,
        steps=steps,
        images=steps * spec.batch_size,
        flops_per_step=step_flops(learner, spec.batch_size),
        copied_parameters=sum(each.numel() for each in learner.target.copies.parameters()),
        ema_bytes=learner.ema_bytes,
        ema_bytes_moved=learner.update_bytes(per_epoch if every == "epoch" else every),
    )
