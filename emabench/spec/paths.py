"""Dotted paths to the fields of an experiment, as ``--set`` and ``--where`` take them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from emabench.errors import SpecError
from emabench.spec.experiment import ExperimentSpec
from emabench.spec.grid import expand_values
from emabench.spec.model import SpecModel, model_at
from emabench.spec.plain import shown
from emabench.spec.pretrain import SMALL_NETWORKS

SHORT_NAMES = {
    "method": "pretrain.method.name",
    "ema_scope": "pretrain.ema.scope",
    "backbone": "pretrain.backbone.name",
    "init": "pretrain.init",
    "dataset": "pretrain.data.dataset",
    "data_dir": "pretrain.data.data_dir",
    "epochs": "pretrain.epochs",
    "batch_size": "pretrain.batch_size",
    "lr": "pretrain.optimizer.lr",
    "seed": "pretrain.seed",
    "train_subset": "pretrain.data.train_subset",
    "test_subset": "pretrain.data.test_subset",
    "image_size": "pretrain.data.image_size",
    "device": "pretrain.device",
    "devices": "pretrain.devices",
    "precision": "pretrain.precision",
}
"""The fields that have a flag of their own, by the flag's name."""
_BACKBONE, _BACKBONE_OPTIONS = SHORT_NAMES["backbone"], "pretrain.backbone.options"


def full_path(text: str) -> str:
    """Return the complete path that a short or complete one stands for.

    ``ema_scope`` is short for ``pretrain.ema.scope``; ``ema.decay`` for ``pretrain.ema.decay``.

    Raises:
        SpecError: no field lies there; the hint names near ones.
    """
    name = text.strip().replace("-", "_")
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    for path in (name, f"pretrain.{name}"):
        if _is_field(path):
            return path
    raise SpecError(f"unknown field {shown(text)}", hint=_near(name[:80]))


def read_condition(text: str) -> tuple[str, Any]:
    """Read ``field=value`` of ``--where``: the complete path, and what a run's spec holds there.

    The value means what it means to the field's flag or ``--set``.

    Raises:
        SpecError: there is no ``=``, no such field, or it cannot have that value.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise SpecError(
            f"--where {shown(text)} has no '='", hint="for example --where ema_scope=full"
        )
    path = full_path(name)
    # A folder may be called "a,b".
    folder = path == SHORT_NAMES["data_dir"] and value[:1] not in ("", '"', "'")
    values = [value.strip()] if folder else expand_values(value, what=name, as_text=is_text(path))
    if folder and values == ["null"]:
        values = [None]
    if len(values) > 1:
        raise SpecError(f"--where {shown(text)} names several values", hint="name one of them")
    return path, field_value(path, values[0], what=f"--where {name}")


def as_resolved(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return conditions, by complete path, in the words of a resolved spec.

    That says the small networks of the presets as a timm model with options.
    """
    small = SMALL_NETWORKS.get(str(conditions.get(_BACKBONE)))
    if small is None:
        return dict(conditions)
    options = {f"{_BACKBONE_OPTIONS}.{name}": value for name, value in small["options"].items()}
    return {**options, **conditions, _BACKBONE: small["name"]}


def field_value(path: str, value: Any, *, what: str) -> Any:
    """Check a plain value for the field at a complete path; return it as a run's spec holds it.

    Raises:
        SpecError: the field cannot have this value.
    """
    *groups, name = path.split(".")
    owner = model_at(ExperimentSpec, groups)
    if owner is None or not issubclass(owner, SpecModel):
        return value  # inside free options
    return owner.parse_field(name, value, what=what)


def all_paths(model: type[BaseModel] = ExperimentSpec, prefix: str = "") -> Iterator[str]:
    """Yield the path of every field, groups left out."""
    for name in model.model_fields:
        inner = model_at(model, [name])
        if inner is None:
            yield prefix + name
        else:
            yield from all_paths(inner, f"{prefix}{name}.")


def _left_out(
    model: type[BaseModel] = ExperimentSpec, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield each field that specs leave out where nobody sets it, and what that means."""
    later = getattr(model, "added_later", ())
    for name in model.model_fields:
        inner = model_at(model, [name])
        if inner is None and name in later:
            yield prefix + name, json.loads(json.dumps(model.model_fields[name].default))
        elif inner is not None and name in later:
            plain = inner().model_dump(mode="json").items()
            yield from ((f"{prefix}{name}.{own}", value) for own, value in plain)
        elif inner is not None:
            yield from _left_out(inner, f"{prefix}{name}.")


def is_text(path: str) -> bool:
    """Whether the field at a complete path holds text: a name, a word, a folder.

    Its values are taken as they were typed: ``no`` and ``2020`` are names, not false and a number.
    """
    *groups, name = path.split(".")
    owner = model_at(ExperimentSpec, groups)
    field = None if owner is None else owner.model_fields.get(name)
    return field is not None and _holds_text(field.annotation)


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"pretrain.ema.scope": "full"}`` into nested fields; a later path wins."""
    fields: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path.split(".")
        inner = fields
        for group in groups:
            below = inner.get(group)
            inner[group] = dict(below) if isinstance(below, Mapping) else {}
            inner = inner[group]
        inner[name] = value
    return fields


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path of a spec's fields; None where nothing is.

    Of a field that was added later, what a spec from before it means.
    """
    inner: Any = fields
    for name in path.split("."):
        if not isinstance(inner, Mapping) or name not in inner:
            return ADDED_LATER.get(path)
        inner = inner[name]
    return inner


def _near(name: str) -> str:
    """Return a hint with near fields; a bare name such as ``deacy`` may be the end of a path."""
    paths = [path.removeprefix("pretrain.") for path in all_paths()]
    whole = difflib.get_close_matches(name, [*SHORT_NAMES, *paths], n=3, cutoff=0.6)
    ends = difflib.get_close_matches(name, {path.rpartition(".")[2] for path in paths}, n=1)
    below = [path for path in paths if path.rpartition(".")[2] in ends]
    near = whole or below[:3]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "'emabench spec show' prints every field"


def _is_field(path: str) -> bool:
    """Whether the path leads to a field, a whole group, or into free ``options``."""
    parts = path.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        owner = model_at(ExperimentSpec, parts[:depth])
        if owner is None:
            continue
        field = owner.model_fields.get(parts[depth])
        if field is None:
            return False
        return depth == len(parts) - 1 or parts[depth] == "options"
    return False


def _holds_text(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return all(isinstance(word, str) for word in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return all(a is type(None) or _holds_text(a) for a in get_args(annotation))
    return annotation is str


ADDED_LATER: Mapping[str, Any] = {
    "profile": False,
    "pretrain.compile": False,
    "pretrain.devices": 1,
    **{path: value for path, value in _left_out() if value is not None},
}
"""What a spec without a field means, where that is not null. The field is of a later version, or
left out where nobody sets it: runs with and without it share an arm; ``--where`` finds both."""
