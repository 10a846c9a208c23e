"""The options that a backbone takes: what shapes its architecture, and nothing that loads."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import timm
import torch
from timm.models import model_entrypoint
from torch import nn

from emabench.errors import SpecError, did_you_mean, first_line

_FRESH = "a backbone starts with fresh weights: 'emabench eval FILE' evaluates others"
_LOADING = (
    "cache_dir",
    "checkpoint",
    "checkpoint_path",
    "default_cfg",
    "file",
    "hf_hub_filename",
    "hf_hub_id",
    "path",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_model_args",
    "pretrained_strict",
    "state_dict",
    "url",
)
_REFUSED = {
    **dict.fromkeys(_LOADING, _FRESH),
    "in_chans": "images always have three channels: leave it out",
    "num_classes": "a backbone has no classifier: leave it out",
    "features_only": "a backbone gives one vector per image: leave it out",
    "out_indices": "a backbone gives one vector per image: leave it out",
    "device": "set the field device of the spec",
    "dtype": "set the field precision of the spec",
}
"""What changes more than the architecture, and what to do instead."""


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check that options are parameters of a model's constructor which shape its architecture.

    Args:
        name: name of a timm model.
        options: as the spec has them.

    Raises:
        SpecError: an option loads something, changes what goes in or comes out, or is unknown.
    """
    if not options:
        return
    for key in _keys(options):
        if key in _REFUSED:
            raise SpecError(f"backbone.options: {key!r} is not an option", hint=_REFUSED[key])
    known = _parameters(_model_class(name)) - set(_REFUSED)
    for key in options:
        if key not in known:
            raise SpecError(
                f"backbone.options: {name} takes no option {key!r}", hint=did_you_mean(key, known)
            )


def _keys(value: Any) -> Iterator[str]:
    """Yield the keys of all mappings inside a plain value."""
    if isinstance(value, Mapping):
        yield from value
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for inner in value:
        yield from _keys(inner)


@cache
def _model_class(name: str) -> type[nn.Module]:
    """Return the class of a model: timm's functions say which, but for some."""
    said = _hints(model_entrypoint(name)).get("return")
    if isinstance(said, type) and issubclass(said, nn.Module) and said is not nn.Module:
        return said
    try:
        with torch.random.fork_rng(devices=[]):
            return type(timm.create_model(name, num_classes=0))
    except Exception as error:  # of a plugin, whose author may not have thought of it
        raise SpecError(
            f"backbone {name} cannot be built to see its options: {first_line(error)}",
            hint="its function may say the class of the model as what it returns",
        ) from error


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a function; none where a name of them is not there at run time."""
    try:
        return typing.get_type_hints(function)
    except NameError:
        return {}


def _parameters(model: type[nn.Module]) -> set[str]:
    """Return the names of a constructor's parameters.

    Those that it hands on are the parameters of the class above, or the fields of its ``cfg``.
    """
    found: set[str] = set()
    for owner in model.__mro__[: model.__mro__.index(nn.Module)]:
        constructor = vars(owner).get("__init__")
        if constructor is None:
            continue
        parameters = inspect.signature(constructor).parameters
        found |= {key for key, each in parameters.items() if each.kind in _NAMED}
        hints = _hints(constructor)
        if dataclasses.is_dataclass(hints.get("cfg")):
            found |= {field.name for field in dataclasses.fields(hints["cfg"])}
        if all(each.kind is not each.VAR_KEYWORD for each in parameters.values()):
            break
    return found - {"self", "cfg"}


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
