"""Specs as stores and bundles hold them: written by any version, or by anybody."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from emabench.spec.experiment import ExperimentSpec


def unreadable(spec: Any) -> str | None:
    """Return why nothing can be read from a spec; None if it can.

    What counts is its shape: groups are groups, and values of the type that their fields have.
    Fields and choices that this version does not know hinder nobody from reading the others.

    Args:
        spec: plain values.
    """
    shape = _shape(spec)
    if shape not in _known:
        _known[shape] = _why(spec)
    return _known[shape]


_known: dict[Any, str | None] = {}
"""Thousands of runs have a few shapes, and looking at one takes longer than reading its run."""


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _shape(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return (list, *map(_shape, value))
    return type(value)


def _why(spec: Any) -> str | None:
    try:
        ExperimentSpec.model_validate(spec)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            if each["type"].endswith(("_type", "_parsing")):
                path = ".".join(map(str, each["loc"])) or "it"
                kind = type(each["input"]).__name__
                return f"{path} cannot be {'null' if kind == 'NoneType' else f'of type {kind}'}"
    return None
