"""What one step computes: the views of a batch → online and target embeddings → loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from emabench.cost.steps import StepClock
from emabench.ema import FrozenTarget, TargetNetwork
from emabench.evaluation.weights_file import load_weights
from emabench.methods import load_method
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import TrainingSet, Views
from emabench.networks.backbone import build_backbone
from emabench.networks.encoder import Encoder
from emabench.networks.token_grid import take_visible
from emabench.spec import EmaScope, PretrainSpec
from emabench.spec.scope import PROJECTOR
from emabench.spec.streams import derive
from emabench.training.given_weights import NOTHING, Given, load_teacher
from emabench.training.world import ALONE, World

Activations = list[Tensor]
_GLOBAL_VIEWS = 2


@dataclass(frozen=True)
class StepOutput:
    """What a forward pass gives.

    Attributes:
        loss: the method's loss, float32 scalar: equal in all scopes at the first step.
        objective: what is differentiated. It is the loss, but where a method that trains both
            branches has its targets detached: there the online network takes both roles in turn,
            loss(online, target) + loss(target, online), so that its gradient at the first step is
            that of attached targets.
        activations: h0 … hn of each pass of the online network over global views: one a view, or
            one for all.
        features: of the backbone, detached [N, D]: those of the first view, and perhaps others
            after it. Of a masked view they are those of what is visible.
        targets: the targets [N, E] of the method's target views, or its labels [N]; of the whole
            batch.
    """

    loss: Tensor
    objective: Tensor
    activations: list[Activations]
    features: Tensor
    targets: Views


class Learner(nn.Module):
    """Online network, target network and method of one resolved spec.

    Its weights depend on the seed of the spec and on nothing else; the EMA scope draws no random
    number, so that all scopes start equal.

    Args:
        spec: a resolved spec: method options complete, scope and target gradient canonical.
        image_size: side of the images in pixels.
        data: the training set.
        clock: times the phases of a forward pass.
        given: the weights that the spec names.

    Attributes:
        average: of the whole backbone, for the evaluation alone; None where none is kept.
        masks: whether the blocks pass on tokens [N, T, D], of which the method hides some from the
            online network; ``pooled`` makes features of them.
        sizes: the views of an image that a step needs, with their side in pixels: 0 is the first
            view, 1 the second one, then come the local ones.
        world: the processes that train it together; this one alone until it is set.
    """

    def __init__(
        self,
        spec: PretrainSpec,
        image_size: int,
        data: TrainingSet,
        clock: StepClock | None = None,
        given: Given = NOTHING,
    ) -> None:
        super().__init__()
        self._clock = clock or StepClock()
        self.world: World = ALONE
        method = load_method(spec.method.name)
        options = method.parse_options(spec.method.name, spec.method.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(spec.seed, "init"))
            local = spec.augmentation.local_views
            backbone = build_backbone(spec.backbone, image_size, any_size=local.count > 0)
            projector = method.build_projector(options, backbone.feature_dim)
            data = replace(data, step_images=spec.batch_size, tokens=backbone.tokens)
            self.method = method(options, backbone.feature_dim, data)
        if given.init is not None:
            load_weights(given.init.backbone, backbone.model, backbone=backbone.name)
        self.backbone = (backbone,)  # in a tuple: its weights are registered by the encoder
        self.feature_dim = backbone.feature_dim
        self.masks = issubclass(method, MaskedMethod)
        of_backbone = backbone.token_blocks if self.masks else backbone.blocks
        blocks = {**dict(of_backbone.items()), PROJECTOR: projector}
        self.encoder = Encoder(blocks).to(memory_format=torch.channels_last)
        scope = EmaScope.parse(spec.ema.scope, self.encoder.block_names)
        detach = bool(scope.averaged) or spec.ema.target_gradient == "detach"
        if spec.ema.teacher is None:
            buffers = spec.ema.buffers
            self.target = TargetNetwork(self.encoder, scope, buffers=buffers, detach=detach)
        else:
            self.target = FrozenTarget(self.encoder, scope)
            if given.teacher is not None:
                load_teacher(given.teacher, spec.backbone, image_size, self.target.copies)
        decay = spec.ema.evaluation_decay
        self.average = None
        if decay is not None:
            self.average = TargetNetwork({"backbone": backbone.model}, "full", buffers="copy")
        self._both_roles = detach and not method.stop_gradient
        # Without batch statistics one pass over all views is the same as one for each, only faster.
        joint = spec.views == "joint" or not has_batch_statistics(self.encoder, self.method)
        self.local_views = tuple(range(_GLOBAL_VIEWS, _GLOBAL_VIEWS + local.count))
        whole = {*method.online_views, *method.target_views}
        self.sizes = dict.fromkeys(sorted(whole), image_size)
        self.sizes |= dict.fromkeys(self.local_views, local.size or image_size)
        by_size = [views for views in (method.online_views, self.local_views) if views]
        # The views of each pass: views of two sizes cannot share one.
        self._passes = by_size if joint else [(view,) for views in by_size for view in views]
        self._frozen: list[nn.Parameter] = []
        self._residual_weight: float = getattr(options, "residual_weight", 0.0)

    def online_parts(self) -> nn.ModuleDict:
        """Return what the optimiser trains: the encoder, and the method's own weights."""
        return nn.ModuleDict({"encoder": self.encoder, "method": self.method})

    @property
    def ema_bytes(self) -> int:
        """Bytes that all averages hold, parameters and buffers."""
        return self.target.ema_bytes + (0 if self.average is None else self.average.ema_bytes)

    def update_bytes(self, every: int) -> int:
        """Bytes that the averages move per step, where the target moves every so many steps."""
        kept = 0 if self.average is None else self.average.update_bytes
        return self.target.update_bytes // every + kept

    def compile_blocks(self) -> None:
        """Have every block compiled when it is first run, online and copied ones."""
        # How many tokens are visible may differ from step to step.
        dynamic = None if self.masks else False
        for block in (*self.encoder.blocks.values(), *self.target.copies.values()):
            block.compile(dynamic=dynamic)

    def freeze(self, epoch: int) -> None:
        """Train the blocks that the method trains in an epoch, and no others."""
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        blocks = self.method.frozen_blocks(epoch, self.encoder.block_names)
        of_blocks = (self.encoder.blocks[name].parameters() for name in blocks)
        self._frozen = [each for block in of_blocks for each in block if each.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def begin_epoch(self, epoch: int) -> None:
        """Let the method prepare an epoch, counted from 0."""
        self.freeze(epoch)
        self.method.begin_epoch(epoch, self.encoder.blocks[PROJECTOR])

    def forward(self, views: Mapping[int, Tensor], labels: Tensor | None = None) -> StepOutput:
        """Compute the loss of a batch.

        Args:
            views: [N, 3, S, S] for each of ``self.sizes``; of several processes, the part of each.
            labels: [N] of a method without a target; of the whole batch.
        """
        with self._clock.phase("online_forward"):
            if isinstance(self.method, MaskedMethod):
                passes, predictions = self._masked_pass(self.method, views[0])
            else:
                passes = [
                    self.encoder(
                        views[group[0]]
                        if len(group) == 1
                        else torch.cat([views[view] for view in group])
                    )
                    for group in self._passes
                ]
                predictions = self._by_view([self.method.predict(each[-1]) for each in passes])
        # Local views have no target, and only those of one size can be watched together.
        passes = [
            each
            for group, each in zip(self._passes, passes, strict=True)
            if group[0] not in self.local_views
        ]
        with self._clock.phase("target_forward"):
            targets = self._targets(views, passes)
        device = passes[0][-1].device.type
        with self._clock.phase("loss"), torch.autocast(device, enabled=False):
            online = tuple(self._whole(predicted) for predicted in predictions.values())
            targets = {view: self._whole(target) for view, target in targets.items()}
            keys = tuple(targets[view] for view in self.method.target_views)
            if self.method.labels == "pixels":
                keys = (self._whole(views[0]),)
            elif self.method.labels is not None:
                assert labels is not None
                keys = (labels,)
            loss = self.method.loss(online, keys)
            objective = loss
            if self._both_roles:
                whole = len(self.method.online_views)
                local = tuple(view.detach() for view in online[whole:])
                objective = self.method.loss((*keys, *local), online[:whole]) + loss
            if self._residual_weight:
                parts = self._by_view([each[-1] for each in passes])
                embeddings = {view: self._whole(part) for view, part in parts.items()}
                residual = self._residual_weight * _distance(embeddings, targets)
                loss, objective = loss + residual, objective + residual
        features = self.pooled(passes[0][-2]).detach()
        return StepOutput(loss, objective, passes, features, keys)

    def _masked_pass(
        self, method: MaskedMethod, images: Tensor
    ) -> tuple[list[Activations], dict[int, Tensor]]:
        """Run the online network on what is visible of the one view, and predict the rest."""
        part = self.world.part(len(images) * self.world.size)
        visible, patches = method.visible[part], method.grid.patches
        activations = self.encoder(images, lambda tokens: take_visible(tokens, visible, patches))
        return [activations], {0: method.predict_hidden(activations[-1], part)}

    def pooled(self, activation: Tensor) -> Tensor:
        """Return features [N, D] of what leaves the backbone: of tokens, or the features."""
        (backbone,) = self.backbone
        return backbone.pooling(activation) if self.masks else activation

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
        seen = needed - self.method.targets_alone()
        targets = self._by_view([self.target(each) for each in passes]) if seen else {}
        for view in needed - seen:
            targets[view] = self.target.without_online_pass(views[view])
        return targets

    def _by_view(self, outputs: list[Tensor]) -> dict[int, Tensor]:
        """Return what came out of the first passes of the online network, view by view."""
        found: dict[int, Tensor] = {}
        for group, output in zip(self._passes, outputs, strict=False):
            found |= zip(group, output.chunk(len(group)), strict=True)
        return found

    def backbone_of(self, network: str) -> nn.Sequential:
        """Return the backbone of the ``online`` or ``target`` network: images → features."""
        names = self.encoder.block_names[:-1]
        pooling = [self.backbone[0].pooling] if self.masks else []
        if network == "target":
            return nn.Sequential(*(self.target.block(name) for name in names), *pooling)
        return nn.Sequential(*(self.encoder.blocks[name] for name in names), *pooling)


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
