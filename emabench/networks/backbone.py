"""A timm backbone as an ordered list of named blocks."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from emabench.errors import SpecError, first_line
from emabench.networks.backbone_options import check_options
from emabench.networks.backbone_plugins import PIXELS, known_backbone
from emabench.networks.cut import ramp
from emabench.networks.drop_rates import keep_asked_for
from emabench.networks.exactness import is_exact
from emabench.networks.families import Family, find_family
from emabench.networks.token_grid import TokenGrid
from emabench.spec import BackboneSpec

_SMALL_IMAGE = 64


class Backbone:
    """A model without its classifier, cut into blocks that share its weights.

    Attributes:
        name: name of the timm model, or ``pixels``.
        model: the uncut model: images [N, 3, S, S] → features [N, feature_dim].
        blocks: the ordered named blocks; one after another they are the model.
        feature_dim: length of the features.
        cut: whether the model's family is known, or everything is the one block ``backbone``.
        quietened: whether timm's model drops paths or units by itself, which was turned off.
        tokens: the grid of the tokens that its blocks pass on; None where they pass on others.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        blocks: dict[str, nn.Module],
        feature_dim: int,
        *,
        quietened: bool = False,
        tokens: TokenGrid | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.blocks = nn.ModuleDict(blocks)
        self.feature_dim = feature_dim
        self.cut = list(blocks) != ["backbone"]
        self.quietened = quietened
        self.tokens = tokens

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of the blocks, first to last."""
        return tuple(self.blocks)

    @property
    def token_blocks(self) -> dict[str, nn.Module]:
        """The blocks up to the tokens [N, P + L, D], without ``pooling``; of those with tokens."""
        *others, (name, last) = self.blocks.items()
        assert isinstance(last, nn.Sequential)
        return {**dict(others), name: last[:-1]}

    @property
    def pooling(self) -> nn.Module:
        """What makes features [N, D] of tokens; of a backbone with tokens."""
        last = self.blocks[self.block_names[-1]]
        assert isinstance(last, nn.Sequential)
        return last[-1]


def build_backbone(spec: BackboneSpec, image_size: int, *, any_size: bool = False) -> Backbone:
    """Build a backbone with fresh weights from torch's global random state.

    It drops paths and units only where the options ask for it, whatever timm's defaults are.

    Args:
        spec: the model, its stem and its options.
        image_size: side of the square images in pixels.
        any_size: whether it is to take images of other sizes too, as far as its family can.

    Raises:
        UnknownNameError: neither timm nor a plugin has such a model.
        PluginError: the plugin cannot be loaded.
        SpecError: the model does not take an option, or does not take images of this size.
    """
    spec = spec.as_timm()
    if spec.name == PIXELS:
        if any_size:
            raise SpecError(f"backbone {PIXELS} takes no local views", hint="choose another")
        if spec.options:
            raise SpecError(
                f"backbone {PIXELS} takes no options", hint="leave out backbone.options"
            )
        return Backbone(PIXELS, nn.Flatten(), {"backbone": nn.Flatten()}, 3 * image_size**2)
    is_plugin = known_backbone(spec.name)
    family = find_family(spec.name)
    options = fitted_options(spec, image_size)
    if any_size and family is not None:
        options = dict(family.any_size) | options
    try:
        model = timm.create_model(spec.name, num_classes=0, **options)
        for path, module in fitted_modules(spec, model, image_size).items():
            model.set_submodule(path, module)
    except Exception as error:  # a constructor does not check what it is given
        reason = first_line(error)
        raise SpecError(
            f"backbone {spec.name} cannot be built: {reason}",
            hint="check backbone.options against the constructor of the model in timm",
        ) from error
    quietened = keep_asked_for(model, spec.options)
    feature_dim = feature_dim_at(model, spec.name, image_size)
    if is_plugin:
        blocks = _cut_by_itself(model, spec.name, image_size)
    else:
        blocks = {"backbone": model} if family is None else _cut(model, family, image_size)
    tokens = None if family is None or list(blocks) == ["backbone"] else family.tokens(model)
    return Backbone(spec.name, model, blocks, feature_dim, quietened=quietened, tokens=tokens)


def fitted_options(spec: BackboneSpec, image_size: int) -> dict[str, Any]:
    """Return the arguments of ``timm.create_model`` for a stem and an image size.

    The spec's own options win over those that its stem asks for.

    Raises:
        SpecError: an option is none of the model's, or a model that is not cut is asked for another
            stem than its own.
    """
    check_options(spec.name, spec.options)
    stem = chosen_stem(spec, image_size)
    family = find_family(spec.name)
    if family is None:
        default = timm.get_pretrained_cfg(spec.name)
        fixed = default is not None and default.fixed_input_size
        fitted: dict[str, Any] = {"img_size": image_size} if fixed else {}
    else:
        fitted = family.arguments(spec.name, stem, image_size)
    return fitted | dict(spec.options)


def fitted_modules(spec: BackboneSpec, model: nn.Module, image_size: int) -> dict[str, nn.Module]:
    """Return the new modules, by path, that give a model its stem."""
    family = find_family(spec.name)
    return {} if family is None else family.edits(model, chosen_stem(spec, image_size))


def chosen_stem(spec: BackboneSpec, image_size: int) -> str:
    """Return the stem that ``auto`` stands for at this image size."""
    spec = spec.as_timm()
    family = find_family(spec.name) if timm.is_model(spec.name) else None
    if family is None:
        if spec.stem not in ("auto", "original"):
            raise SpecError(
                f"backbone {spec.name} has no stem {spec.stem!r}: its family is not cut into "
                "blocks",
                hint="use backbone.stem=original",
            )
        return "original"
    if spec.stem != "auto":
        return spec.stem
    return "3x3" if image_size <= _SMALL_IMAGE else "original"


def unseen_edge(model: nn.Module, image_size: int) -> str | None:
    """Say how much of an image its patches leave out, and which sizes they cover; None: nothing.

    Args:
        model: the uncut model.
        image_size: side of the square images in pixels.
    """
    patches: list[tuple[nn.Conv2d, tuple[int, int]]] = []

    def look(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Conv2d) and isinstance(inputs[0], Tensor) and not patches:
            height, width = inputs[0].shape[2:]
            patches.append((module, (height, width)))

    hook = nn.modules.module.register_module_forward_hook(look)
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(ramp(3, image_size, image_size))
    finally:
        hook.remove()
        model.train(was_training)
    if not patches:
        return None
    first, seen = patches[0]
    stride = max(first.stride)
    if first.kernel_size != first.stride or stride < 2 or any(map(bool, first.padding)):
        return None
    left_out = max(size % stride for size in seen)
    if not left_out:
        return None
    share = ((image_size - left_out) / image_size) ** 2
    smaller = image_size - left_out
    fitting = [size for size in (smaller, smaller + stride) if size >= stride]
    return (
        f"patches of {stride} pixels do not divide images of {image_size}: the network sees "
        f"{100 * share:.1f} % of their area; {' or '.join(map(str, fitting))} pixels fit"
    )


def family_of(name: str) -> str | None:
    """Return the family that a timm model is cut by, or None if it is none of a known one."""
    family = find_family(name)
    return None if family is None else family.name


def _cut(model: nn.Module, family: Family, image_size: int) -> dict[str, nn.Module]:
    """Cut a model as its family, or leave it one block if that is not the same model.

    Options can make of a model what its family does not know.
    """
    blocks = family.blocks(model)
    exact = is_exact(model, blocks, ramp(3, image_size, image_size))
    return blocks if exact else {"backbone": model}


def _cut_by_itself(model: nn.Module, name: str, image_size: int) -> dict[str, nn.Module]:
    """Cut the model of a plugin as its method ``ema_blocks`` does; without one it is one block.

    Raises:
        SpecError: the blocks, one after another, are not the model.
    """
    cut = getattr(model, "ema_blocks", None)
    if cut is None:
        return {"backbone": model}
    why = ""
    try:
        blocks = dict(cut())
        nn.ModuleDict(blocks)  # says which name no block can have
        exact = is_exact(model, blocks, ramp(3, image_size, image_size))
    except Exception as error:  # whatever its author did not think of
        exact, why = False, f": {first_line(error)}"
    if not exact:
        raise SpecError(
            f"backbone {name}: its ema_blocks, one after another, are not the model{why}",
            hint="return every part of the model in its order, or leave ema_blocks out",
        )
    return blocks


def feature_dim_at(
    model: nn.Module,
    name: str,
    image_size: int,
    *,
    of: str = "images",
    hint: str = "set data.image_size, or choose another backbone or stem",
) -> int:
    """Ask a model itself, on one image: ``num_features`` is not always what comes out.

    Args:
        model: the model.
        name: its name, for the message.
        image_size: side of the image in pixels.
        of: what the image stands for, in the message.
        hint: what to do where it does not take one.

    Raises:
        SpecError: it does not take such an image, or does not give one vector.
    """
    was_training = model.training
    try:
        with torch.no_grad():
            features = model.eval()(ramp(3, image_size, image_size))
    except Exception as error:  # as above
        raise SpecError(
            f"backbone {name} does not take {of} of {image_size} pixels: {first_line(error)}",
            hint=hint,
        ) from error
    finally:
        model.train(was_training)
    if not isinstance(features, Tensor) or features.ndim != 2:
        kind = (
            f"features of {features.ndim} dimensions"
            if isinstance(features, Tensor)
            else "several outputs"
        )
        raise SpecError(
            f"backbone {name} gives {kind}, not one vector",
            hint="set backbone.options.global_pool to a pooling of this model, or choose another",
        )
    return features.shape[1]
