"""What makes a pretraining another one besides its spec: plugins, and changes of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import BatchNormAct2d

from emabench.data.images import Dataset
from emabench.data.sources.plugged import DATASET_PLUGINS
from emabench.device import bind_device
from emabench.extensions.plugin_reference import PLUGINS
from emabench.extensions.plugin_shelf import Plugin
from emabench.extensions.plugins_at_hand import plugins_used
from emabench.methods import METHOD_PLUGINS, load_method
from emabench.methods._method import Method, TrainingSet
from emabench.networks.backbone import Backbone
from emabench.networks.backbone_plugins import BACKBONE_PLUGINS
from emabench.networks.drop_rates import drop_rates
from emabench.networks.small_maps import has_miscomputed
from emabench.spec import EmaScope, PretrainSpec
from emabench.spec.fingerprint import fingerprint
from emabench.spec.revisions import named
from emabench.spec.scope import PROJECTOR


def run_plugins(spec: PretrainSpec, *evaluated_on: Mapping[str, Any]) -> list[Plugin[Any]]:
    """Return the plugins that a pretraining uses, and the data sets that it is evaluated on."""
    return plugins_used(
        (METHOD_PLUGINS, spec.method.name),
        (BACKBONE_PLUGINS, spec.backbone.name),
        (DATASET_PLUGINS, spec.data.dataset),
        *((DATASET_PLUGINS, data["dataset"]) for data in evaluated_on),
    )


def training_owner(spec: PretrainSpec) -> str:
    """Return what tells the checkpoints of a training from those of other ones, or of other code.

    Its weights need no more than its spec: an evaluation does not have the method that made them.
    """
    plugins = [str(plugin.reference) for plugin in run_plugins(spec)]
    key = spec.training_key()
    return fingerprint({"training": key, PLUGINS: plugins}) if plugins else key


def training_steps(spec: PretrainSpec, method: type[Method], images: int) -> int:
    """Return the optimiser steps of a training on so many images."""
    steps = spec.epochs * (images // spec.batch_size) if method.trains else 0
    return steps if spec.max_steps is None else min(steps, spec.max_steps)


def training_revisions(spec: PretrainSpec, backbone: Backbone, dataset: Dataset) -> list[str]:
    """Name the changes of numbers that concern a pretraining: those that touch its steps.

    Args:
        spec: the resolved spec.
        backbone: as it is built for it.
        dataset: its images.
    """
    method = load_method(spec.method.name)
    options = method.parse_options(spec.method.name, spec.method.options)
    concerned = dict.fromkeys(dataset.revisions, True)
    total = training_steps(spec, method, len(dataset.train))
    if not total:
        return named(concerned)
    steps = len(dataset.train) // spec.batch_size
    scope = EmaScope.parse(spec.ema.scope, [*backbone.block_names, PROJECTOR])
    first: int | None = 0 if method.targets_alone() else scope.first
    again = [] if first is None else list(backbone.blocks.values())[first:]
    concerned["drop-rates"] = backbone.quietened or bool(drop_rates(*again))
    concerned |= method.revisions(
        options, epochs=math.ceil(total / steps), epoch_images=steps * spec.batch_size
    )
    local = spec.augmentation.local_views
    sizes = {dataset.image_size}
    if local.count:
        assert local.size is not None
        sizes.add(local.size)
    device = bind_device(spec)
    concerned["bf16-small-maps"] = has_miscomputed(device, backbone.model, sizes)
    if spec.devices > 1:
        fused = any(isinstance(each, BatchNormAct2d) for each in backbone.model.modules())
        concerned["sync-batchnorm-activation"] = fused and device.kind != "cpu"
        with torch.random.fork_rng(devices=[]):
            heads = (
                method.build_projector(options, backbone.feature_dim),
                method(options, backbone.feature_dim, TrainingSet(1, 1, tokens=backbone.tokens)),
            )
        concerned["device-drop-masks"] = bool(drop_rates(backbone.model, *heads))
    return named(concerned)
