"""What all specs share: frozen, strict about unknown fields, and readable when wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
)

from emabench.errors import SpecError, did_you_mean
from emabench.spec.plain import plain, shown

_HINT = "'emabench spec schema' says what each field can be"
_LONGEST_NAME = 80
"""Characters of a wrong name that are looked at."""


class SpecModel(BaseModel):
    """The parent of every spec: immutable, and an unknown field is an error.

    Kinds are not converted into one another: a truth value is no number, a number no truth value,
    and text neither; only a whole number may stand for a fraction, and a list for a tuple.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        strict=True,
        use_attribute_docstrings=True,
    )
    has_lines: ClassVar[bool] = False
    """Whether its text may have several lines."""
    added_later: ClassVar[tuple[str, ...]] = ()
    """Fields that are written only where they are set: without them it is the same run, with the
    same fingerprint, as one from before there were such fields."""

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
            return cls.model_validate(plain(fields, lines=cls.has_lines))
        except ValidationError as error:
            raise spec_error(error, cls, what=what) from None
        except ValueError as error:
            raise SpecError(f"{what}: {error}", hint=_HINT) from None

    @classmethod
    def parse_field(cls, name: str, value: Any, *, what: str) -> Any:
        """Check the value of one field alone, and return it as a complete spec holds it.

        Args:
            name: of the field.
            value: a plain value.
            what: names the source in the message.

        Raises:
            SpecError: the field cannot have this value.
        """
        return _alone(cls, name).parse({name: value}, what=what).model_dump(mode="json")[name]

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        for name in self.added_later:
            if name in fields and getattr(self, name) == type(self).model_fields[name].default:
                del fields[name]
        return fields

    @field_validator("*", mode="before")
    @classmethod
    def _lists_stand_for_tuples(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        return tuple(value) if isinstance(value, list) and _holds_tuple(annotation) else value


@cache
def _alone(model: type[SpecModel], name: str) -> type[SpecModel]:
    """Return a spec that has one field of another spec and nothing else."""
    field = model.model_fields[name]
    fields: dict[str, Any] = {name: (field.annotation, field)}
    return create_model(model.__name__, __base__=SpecModel, **fields)


def spec_error(error: ValidationError, model: type[BaseModel], *, what: str) -> SpecError:
    """Turn pydantic's first complaint into one line with a hint."""
    first = error.errors()[0]
    path = ".".join(str(part)[:_LONGEST_NAME] for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner = model_at(model, [str(part) for part in first["loc"][:-1]]) or model
        hint = did_you_mean(str(first["loc"][-1])[:_LONGEST_NAME], owner.model_fields)
        return SpecError(f"{what}: unknown field {shown(path)}", hint=hint)
    if first["type"] == "missing":
        return SpecError(f"{what}: field {path!r} is required", hint=f"give it a value: {path}=…")
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    hint = _HINT
    if first["type"] == "literal_error":
        choices = [
            word.strip("' ") for word in first["ctx"]["expected"].replace(" or ", ",").split(",")
        ]
        hint = did_you_mean(
            str(first["input"])[:_LONGEST_NAME], [choice for choice in choices if choice]
        )
        reason = "is not one of the choices"
    if isinstance(first["input"], Mapping):
        return SpecError(f"{what}: {path}: {reason}" if path else f"{what}: {reason}", hint=hint)
    return SpecError(f"{what}: {path}={shown(first['input'])}: {reason}", hint=hint)


def _options(options: Any) -> Any:
    """Refuse what JSON cannot hold: the fingerprint of a spec is made of its JSON."""
    if any(math.isinf(number) or math.isnan(number) for number in _fractions(options)):
        raise ValueError("an option must be a finite number")
    return plain(options)


def _fractions(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _fractions(inner)


Options = Annotated[dict[str, Any], AfterValidator(_options)]
"""Free options, checked by whom they are for; plain values only."""


def _holds_tuple(annotation: Any) -> bool:
    """Whether an annotation such as ``tuple[float, float] | None`` is of a tuple."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return any(_holds_tuple(inner) for inner in get_args(annotation))
    return get_origin(annotation) is tuple


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
