"""Whether method, backbone, images and optimiser of a pretraining go together."""

from __future__ import annotations

from typing import Any

from torch import nn

from emabench.device import Device
from emabench.errors import SpecError
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import Method, TrainingSet
from emabench.networks.backbone import Backbone, feature_dim_at
from emabench.resolution.several_devices import check_devices
from emabench.spec import PretrainSpec, SpecModel
from emabench.training.optimizer import build_optimizer, check_device


def check_batch(spec: PretrainSpec, images: int) -> None:
    """Check that there are images enough for a batch.

    Raises:
        SpecError: there are not.
    """
    if spec.batch_size > images:
        raise SpecError(
            f"batch of {spec.batch_size} is larger than {images} training images",
            hint=f"set --batch-size to {images} or less",
        )


def check_unlabelled(spec: PretrainSpec, method: type[Method]) -> list[str]:
    """Check that a run does without labels, and say what it lacks then.

    Raises:
        SpecError: the method learns from them.
    """
    if method.labels == "classes":
        raise SpecError(
            f"method {spec.method.name} needs labels, and the images of {spec.data.data_dir} have "
            "none",
            hint="put them into a folder per class, or choose another method",
        )
    if not spec.probe_images:
        return []
    return ["the images have no labels: online_top1 is not measured"]


def check_tokens(
    spec: PretrainSpec, method: type[Method], options: Any, backbone: Backbone
) -> list[str]:
    """Check that a backbone passes on the tokens that a masked method needs; say what to know.

    Raises:
        SpecError: it has none, or too few, or weights that the method would not train.
    """
    if not issubclass(method, MaskedMethod):
        return []
    name = f"method {spec.method.name} with backbone {spec.backbone.name}"
    if backbone.tokens is None:
        raise SpecError(
            f"{name}: it makes no square of tokens whose patches could be hidden",
            hint="choose a ViT, such as --backbone small-vit or vit_tiny_patch16_224",
        )
    if any(True for _ in backbone.pooling.parameters()):
        raise SpecError(
            f"{name}: its pooling has weights, which are not trained with tokens",
            hint="set backbone.options.fc_norm=false, or backbone.options.global_pool=avg or token",
        )
    return method.check_grid(options, backbone.tokens)


def check_trainable(
    spec: PretrainSpec,
    method: type[Method],
    options: SpecModel,
    backbone: Backbone,
    device: Device,
) -> None:
    """Check that the optimiser can train the networks, on as many devices as the spec asks for.

    Raises:
        SpecError: it cannot, or there is nothing to train.
    """
    name = f"method {spec.method.name} with backbone {spec.backbone.name}"
    if method.trains:
        build_optimizer(spec.optimizer, nn.Linear(1, 1), spec.batch_size)
        check_device(spec.optimizer, device.kind)
    elif not any(True for _ in backbone.model.parameters()):
        raise SpecError(
            f"{name}: neither has weights",
            hint="--epochs 0 with another method evaluates this backbone as it is",
        )
    if method.tunes_given_weights and len(backbone.block_names) == 1:
        raise SpecError(
            f"{name}: it is one block, of which no upper part could be tuned",
            hint="'emabench backbones' says how many blocks each has; a ViT has one a layer",
        )
    tuned = spec.optimizer.predictor_lr != 1
    if spec.devices == 1 and not tuned:
        return
    projector = method.build_projector(options, backbone.feature_dim)
    heads = method(options, backbone.feature_dim, TrainingSet(1, 1, tokens=backbone.tokens))
    if tuned and not hasattr(heads, "predictor"):
        raise SpecError(
            f"optimizer.predictor_lr={spec.optimizer.predictor_lr:g}: method {spec.method.name} "
            "has no predictor",
            hint="leave it out, or choose a method that has one, such as byol",
        )
    if spec.devices > 1:
        check_devices(spec, device, backbone.model, projector, heads)


def settle_local_views(
    spec: PretrainSpec, method: type[Method], model: nn.Module, image_size: int
) -> dict[str, Any]:
    """Return the field of the local views with their size; none where there are no such views.

    Raises:
        SpecError: the method has no use for them, or the backbone does not take them.
    """
    views = spec.augmentation.local_views
    if not views.count:
        return {}
    if not method.takes_local_views:
        able = [name for name in method_names() if load_method(name).takes_local_views]
        raise SpecError(
            f"augmentation.local_views.count={views.count}: method {spec.method.name} takes none",
            hint=f"these do: {', '.join(able)}",
        )
    size = views.size or max(8, image_size // 2)
    feature_dim_at(
        model,
        spec.backbone.name,
        size,
        of="local views",
        hint="set augmentation.local_views.size, or choose another backbone",
    )
    return {"local_views": views.model_copy(update={"size": size}).model_dump(mode="json")}
