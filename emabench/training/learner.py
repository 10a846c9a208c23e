"""What one step computes: two views → online and target embeddings → loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emabench.ema import TargetNetwork
from emabench.methods import load_method
from emabench.methods._method import Views
from emabench.networks.backbone import build_backbone
from emabench.networks.encoder import Encoder
from emabench.spec import EmaScope, PretrainSpec
from emabench.spec.streams import derive


@dataclass(frozen=True)
class StepOutput:
    """What a forward pass gives.

    Attributes:
        loss: the method's loss, float32 scalar: equal in all scopes at the first step.
        objective: what is differentiated. It is the loss, but where a method that trains both
            branches has its targets detached: there the online network takes both roles in turn,
            loss(online, target) + loss(target, online), so that its gradient at the first step is
            that of attached targets.
        features: detached backbone features [N, D] of the first view, for the online probe.
        targets: the targets [N, E] of both views.
    """

    loss: Tensor
    objective: Tensor
    features: Tensor
    targets: Views


class Learner(nn.Module):
    """Online network, target network and method of one resolved spec.

    Its weights depend on the seed of the spec and on nothing else; the EMA scope draws no random
    number, so that all scopes start equal.

    Args:
        spec: a resolved spec: method options complete, scope and target gradient canonical.
        image_size: side of the images in pixels.
        train_images: number of training images.
    """

    def __init__(self, spec: PretrainSpec, image_size: int, train_images: int) -> None:
        super().__init__()
        method = load_method(spec.method.name)
        options = method.parse_options(spec.method.name, spec.method.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(spec.seed, "init"))
            backbone = build_backbone(spec.backbone, image_size)
            projector = method.build_projector(options, backbone.feature_dim)
            self.method = method(options, backbone.feature_dim, train_images)
        self.backbone = (backbone,)  # in a tuple: its weights are registered by the encoder
        self.feature_dim = backbone.feature_dim
        self.encoder = Encoder(backbone, projector).to(memory_format=torch.channels_last)
        scope = EmaScope.parse(spec.ema.scope, self.encoder.block_names)
        detach = bool(scope.averaged) or spec.ema.target_gradient == "detach"
        self.target = TargetNetwork(self.encoder, scope, buffers=spec.ema.buffers, detach=detach)
        self._both_roles = detach and not method.stop_gradient
        self._joint = spec.views == "joint"

    def online_parts(self) -> nn.ModuleDict:
        """Return what the optimiser trains: the encoder, and the method's own weights."""
        return nn.ModuleDict({"encoder": self.encoder, "method": self.method})

    def forward(self, first: Tensor, second: Tensor) -> StepOutput:
        """Compute the loss of two views [N, 3, S, S] of the same N images."""
        if self._joint:
            activations = self.encoder(torch.cat([first, second]))
            predictions = self.method.predict(activations[-1]).chunk(2)
            targets = self.target(activations).chunk(2)
            features = activations[-2].detach()[: len(first)]
        else:
            runs = [self.encoder(view) for view in (first, second)]
            predictions = tuple(self.method.predict(run[-1]) for run in runs)
            targets = tuple(self.target(run) for run in runs)
            features = runs[0][-2].detach()
        with torch.autocast(first.device.type, enabled=False):
            online = (predictions[0].float(), predictions[1].float())
            keys = (targets[0].float(), targets[1].float())
            loss = self.method.loss(online, keys)
            objective = loss + self.method.loss(keys, online) if self._both_roles else loss
        return StepOutput(loss, objective, features, keys)

    def backbone_of(self, network: str) -> nn.Sequential:
        """Return the backbone of the ``online`` or ``target`` network: images → features."""
        names = self.encoder.block_names[:-1]
        if network == "target":
            return nn.Sequential(*(self.target.block(name) for name in names))
        return nn.Sequential(*(self.encoder.blocks[name] for name in names))
