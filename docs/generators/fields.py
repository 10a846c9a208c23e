"""The fields of a spec: path, type, default and meaning, from the pydantic models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from emabench.spec import ExperimentSpec
from emabench.spec.model import model_at
from generators.markdown import code, prose, table

WORDS = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", dict: "mapping"}
REPEATED = ("pretrain.augmentation.second_view", "evaluation.data")
"""Groups whose fields are those of another group: a row each, not one for every field."""


def fields_table() -> str:
    """Return every field of an experiment."""
    return table(("field", "type", "default", "meaning"), _rows(ExperimentSpec, ""))


def described(
    model: type[BaseModel] = ExperimentSpec, prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """Yield path and declaration of every field, of repeated groups the group itself."""
    for name, field in model.model_fields.items():
        if field.description is None and name not in model.__annotations__:
            continue  # inherited; the group has a line that says what it holds
        path = prefix + name
        inner = model_at(model, [name])
        if inner is None or path in REPEATED:
            yield path, field
        else:
            yield from described(inner, f"{path}.")


def type_in_words(annotation: Any, metadata: list[Any] | None = None) -> str:
    """Return what a field can be, for people."""
    bounds = list(metadata or ())
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for each in inner[1:]:
            bounds += each.metadata if isinstance(each, FieldInfo) else [each]
        return type_in_words(inner[0], bounds)
    if origin is Literal:
        return ", ".join(code(word) for word in inner)
    if origin in (Union, UnionType):
        kinds = [type_in_words(each, bounds) for each in inner if each is not NoneType]
        return ", ".join(kinds) + (" or `null`" if NoneType in inner else "")
    if origin is tuple:
        many = "list of " if Ellipsis in inner else f"{len(inner)} "
        if isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
            return f"{many}groups"
        kind, _, limit = type_in_words(inner[0]).partition(" ")
        return f"{many}{kind}s {limit}".rstrip()
    return WORDS[origin or annotation] + _bounds_in_words(bounds)


def _bounds_in_words(metadata: list[Any]) -> str:
    signs = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
    found = []
    for each in metadata:
        if type(each) in signs:
            name, sign = signs[type(each)]
            found.append(f"{sign} {getattr(each, name):g}")
        elif isinstance(each, MinLen | MaxLen):
            continue
    return " " + ", ".join(found) if found else ""


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for path, field in described(model, prefix):
        shown = path.removeprefix("pretrain.")
        if path in REPEATED:
            yield code(f"{shown}.*"), "as there", "`null`", prose(field.description)
            continue
        default = "" if field.is_required() else code(default_of(field))
        kind = type_in_words(field.annotation, field.metadata)
        yield code(shown), kind, default, prose(field.description)


def default_of(field: FieldInfo) -> str:
    """Return the default of a field as a spec file spells it."""
    value = field.get_default(call_default_factory=True)
    return value if isinstance(value, str) else json.dumps(value)
