"""What one step computes: the views of a batch → online and target embeddings → loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from emabench.cost.steps import StepClock
from emabench.ema import TargetNetwork, WeightAverage
from emabench.methods import load_method
from emabench.methods._method import TrainingSet, Views
from emabench.networks.backbone import build_backbone
from emabench.networks.encoder import Encoder
from emabench.spec import EmaScope, PretrainSpec
from emabench.spec.scope import PROJECTOR
from emabench.spec.streams import derive
from emabench.training.world import ALONE, World

Activations = list[Tensor]


@dataclass(frozen=True)
class StepOutput:
    """What a forward pass gives.

    Attributes:
        loss: the method's loss, float32 scalar: equal in all scopes at the first step.
        objective: what is differentiated. It is the loss, but where a method that trains both
            branches has its targets detached: there the online network takes both roles in turn,
            loss(online, target) + loss(target, online), so that its gradient at the first step is
            that of attached targets.
        activations: h0 … hn of each pass of the online network: one a view, or one for all.
        targets: the targets [N, E] of the method's target views, or its labels [N]; of the whole
            batch.
    """

    loss: Tensor
    objective: Tensor
    activations: list[Activations]
    targets: Views

    def features(self, images: int) -> Tensor:
        """Return the detached backbone features [N, D] of the first view of N images."""
        return self.activations[0][-2].detach()[:images]


class Learner(nn.Module):
    """Online network, target network and method of one resolved spec.

    Its weights depend on the seed of the spec and on nothing else; the EMA scope draws no random
    number, so that all scopes start equal.

    Args:
        spec: a resolved spec: method options complete, scope and target gradient canonical.
        image_size: side of the images in pixels.
        data: the training set.
        clock: times the phases of a forward pass.

    Attributes:
        average: of the backbone's weights, for the evaluation alone; None where none is kept.
        world: the processes that train it together; this one alone until it is set.
    """

    def __init__(
        self,
        spec: PretrainSpec,
        image_size: int,
        data: TrainingSet,
        clock: StepClock | None = None,
    ) -> None:
        super().__init__()
        self._clock = clock or StepClock()
        self.world: World = ALONE
        method = load_method(spec.method.name)
        options = method.parse_options(spec.method.name, spec.method.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(spec.seed, "init"))
            backbone = build_backbone(spec.backbone, image_size)
            projector = method.build_projector(options, backbone.feature_dim)
            self.method = method(options, backbone.feature_dim, data)
        self.backbone = (backbone,)  # in a tuple: its weights are registered by the encoder
        self.feature_dim = backbone.feature_dim
        self.encoder = Encoder(backbone, projector).to(memory_format=torch.channels_last)
        scope = EmaScope.parse(spec.ema.scope, self.encoder.block_names)
        detach = bool(scope.averaged) or spec.ema.target_gradient == "detach"
        self.target = TargetNetwork(self.encoder, scope, buffers=spec.ema.buffers, detach=detach)
        decay = spec.ema.evaluation_decay
        self.average = None if decay is None else WeightAverage(backbone.model, decay)
        self._both_roles = detach and not method.stop_gradient
        # Without batch statistics one pass over all views is the same as one for each, only faster.
        self._joint = spec.views == "joint" or not has_batch_statistics(self.encoder, self.method)
        self._residual_weight: float = getattr(options, "residual_weight", 0.0)

    @property
    def views(self) -> tuple[int, ...]:
        """The views of an image that a step needs: 0 is the first, 1 the second."""
        return tuple(sorted({*self.method.online_views, *self.method.target_views}))

    def online_parts(self) -> nn.ModuleDict:
        """Return what the optimiser trains: the encoder, and the method's own weights."""
        return nn.ModuleDict({"encoder": self.encoder, "method": self.method})

    @property
    def ema_bytes(self) -> int:
        """Bytes that all averages hold, parameters and buffers."""
        return self.target.ema_bytes + (0 if self.average is None else self.average.nbytes)

    def update_bytes(self, every: int) -> int:
        """Bytes that the averages move per step, where the target moves every so many steps."""
        kept = 0 if self.average is None else self.average.update_bytes
        return self.target.update_bytes // every + kept

    def compile_blocks(self) -> None:
        """Have every block compiled when it is first run, online and copied ones."""
        for block in (*self.encoder.blocks.values(), *self.target.copies.values()):
            block.compile(dynamic=False)

    def begin_epoch(self, epoch: int) -> None:
        """Let the method prepare an epoch, counted from 0."""
        self.method.begin_epoch(epoch, self.encoder.blocks[PROJECTOR])

    def forward(self, views: Mapping[int, Tensor], labels: Tensor | None = None) -> StepOutput:
        """Compute the loss of a batch.

        Args:
            views: [N, 3, S, S] for each of ``self.views``; of several processes, the part of each.
            labels: [N] of a method without a target; of the whole batch.
        """
        trained = [views[view] for view in self.method.online_views]
        with self._clock.phase("online_forward"):
            batches = [torch.cat(trained)] if self._joint else trained
            passes = [self.encoder(batch) for batch in batches]
            predictions = self._by_view([self.method.predict(each[-1]) for each in passes])
        with self._clock.phase("target_forward"):
            targets = self._targets(views, passes)
        with self._clock.phase("loss"), torch.autocast(trained[0].device.type, enabled=False):
            online = tuple(self._whole(predicted) for predicted in predictions.values())
            targets = {view: self._whole(target) for view, target in targets.items()}
            keys = tuple(targets[view] for view in self.method.target_views)
            if self.method.labels is not None:
                assert labels is not None
                keys = (labels,)
            loss = self.method.loss(online, keys)
            objective = self.method.loss(keys, online) + loss if self._both_roles else loss
            if self._residual_weight:
                parts = self._by_view([each[-1] for each in passes])
                embeddings = {view: self._whole(part) for view, part in parts.items()}
                residual = self._residual_weight * _distance(embeddings, targets)
                loss, objective = loss + residual, objective + residual
        return StepOutput(loss, objective, passes, keys)

    def _whole(self, embeddings: Tensor) -> Tensor:
        """Return embeddings of the whole batch, in float32 or finer."""
        return self.world.gather(
            embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        )

    def _targets(self, views: Mapping[int, Tensor], passes: list[Activations]) -> dict[int, Tensor]:
        """Return the target of every view that one is needed of."""
        needed = set(self.method.target_views)
        if self._residual_weight:
            needed |= set(self.method.online_views)
        seen = needed & set(self.method.online_views)
        targets = self._by_view([self.target(each) for each in passes]) if seen else {}
        for view in needed - seen:
            targets[view] = self.target.without_online_pass(views[view])
        return targets

    def _by_view(self, outputs: list[Tensor]) -> dict[int, Tensor]:
        """Return what came out of each pass of the online network, view by view."""
        trained = self.method.online_views
        parts = outputs[0].chunk(len(trained)) if self._joint else outputs
        return dict(zip(trained, parts, strict=True))

    def backbone_of(self, network: str) -> nn.Sequential:
        """Return the backbone of the ``online`` or ``target`` network: images → features."""
        names = self.encoder.block_names[:-1]
        if network == "target":
            return nn.Sequential(*(self.target.block(name) for name in names))
        return nn.Sequential(*(self.encoder.blocks[name] for name in names))


def has_batch_statistics(*modules: nn.Module) -> bool:
    """Whether what a module makes of an image depends on the others of its batch."""
    buffers = [name for module in modules for name, _ in module.named_buffers()]
    return any("running_" in name for name in buffers) or any(
        isinstance(each, _BatchNorm) for module in modules for each in module.modules()
    )


def _distance(online: Mapping[int, Tensor], target: Mapping[int, Tensor]) -> Tensor:
    """Mean over views of the cosine distance to the detached target of the same view."""
    distances = [
        1 - F.cosine_similarity(online[view], target[view].detach(), dim=1).mean()
        for view in online
    ]
    return torch.stack(distances).mean()
