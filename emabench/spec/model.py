"""What all specs share: frozen, strict about unknown fields, and readable when wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from emabench.errors import SpecError, did_you_mean


class SpecModel(BaseModel):
    """The parent of every spec: immutable, and an unknown field is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def parse(cls, fields: Mapping[str, Any], *, what: str = "spec") -> Self:
        """Build the spec from plain values.

        Args:
            fields: nested plain values, as YAML gives them.
            what: names the source in the message, for example a file.

        Raises:
            SpecError: a field is unknown or its value cannot be; says which, and a near name.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise spec_error(error, cls, what=what) from None


def spec_error(error: ValidationError, model: type[BaseModel], *, what: str) -> SpecError:
    """Turn pydantic's first complaint into one line with a hint."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner = model_at(model, [str(part) for part in first["loc"][:-1]]) or model
        hint = did_you_mean(str(first["loc"][-1]), owner.model_fields)
        return SpecError(f"{what}: unknown field {path!r}", hint=hint)
    if first["type"] == "missing":
        return SpecError(f"{what}: field {path!r} is required", hint=f"give it a value: {path}=…")
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    hint = "'emabench spec schema' says what each field can be"
    if first["type"] == "literal_error":
        choices = [
            word.strip("' ") for word in first["ctx"]["expected"].replace(" or ", ",").split(",")
        ]
        hint = did_you_mean(str(first["input"]), [choice for choice in choices if choice])
        reason = "is not one of the choices"
    if isinstance(first["input"], Mapping):
        return SpecError(f"{what}: {path}: {reason}" if path else f"{what}: {reason}", hint=hint)
    return SpecError(f"{what}: {path}={first['input']!r}: {reason}", hint=hint)


def _plain(value: Any) -> Any:
    """Refuse what JSON cannot hold: the fingerprint of a spec is made of its JSON."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("the names of options must be text")
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("an option must be a finite number")
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"an option cannot be a {type(value).__name__}")
    return value


Options = Annotated[dict[str, Any], AfterValidator(_plain)]
"""Free options, checked by whom they are for; plain values only."""


def model_at(model: type[BaseModel], path: list[str]) -> type[BaseModel] | None:
    """Return the spec class that ``path`` leads to inside ``model``, or None."""
    owner = model
    for name in path:
        field = owner.model_fields.get(name)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            return None
        owner = inner
    return owner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the spec class inside an annotation such as ``ViewOverrides | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((m for a in get_args(annotation) if (m := _model_in(a)) is not None), None)
    return None
