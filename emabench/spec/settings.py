"""From preset, spec file and flags to complete specs, one for each point of the grid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from emabench.errors import SpecError, UnknownNameError
from emabench.spec.experiment import ExperimentSpec, parse_yaml
from emabench.spec.grid import expand_values, product
from emabench.spec.paths import full_path, is_text, nest, value_at
from emabench.spec.plain import shown
from emabench.spec.version import SPEC_VERSION

DEFAULT_PRESET = "quick"
NO_PRESET = "none"
"""Stands for no preset at all: what a spec leaves open takes the default of its field."""

_FOLDER = resources.files("emabench.spec") / "presets"
_OWN_FIELDS = ("options", "stem")
"""Fields of a group that mean something only to what the group's ``name`` names."""


def preset_names() -> list[str]:
    """Return the names of the presets in the package, sorted."""
    names = (file.name for file in _FOLDER.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """Return a preset: ``description``, ``experiment`` (fields) and ``methods`` (fields by method).

    A preset that ``extends`` another one holds what differs from it.

    Raises:
        UnknownNameError: the package has no such preset.
    """
    if name == NO_PRESET:
        return {"description": "Nothing but the defaults of the fields."}
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), n=1)
        every = f"choose one of: {', '.join([*preset_names(), NO_PRESET])}"
        raise UnknownNameError("preset", name, preset_names(), hint=None if near else every)
    preset = dict(_preset_file(name))
    below = preset.pop("extends", None)
    return preset if below is None else overlay(load_preset(below), preset)


@cache
def _preset_file(name: str) -> dict[str, Any]:
    # Once: a grid asks for each of its points.
    return parse_yaml((_FOLDER / f"{name}.yaml").read_text("utf-8"), what=f"preset {name}")


def parse_assignment(text: str) -> tuple[str, list[Any]]:
    """Read ``path=value`` of ``--set``: the complete path and the values it stands for.

    Raises:
        SpecError: there is no ``=``, no such field, or no such value.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"--set {text!r} has no '='", hint="for example --set ema.decay=0.996")
    field = full_path(path)
    return field, expand_values(value, what=path.strip(), as_text=is_text(field))


def experiments(
    axes: Sequence[tuple[str, list[Any]]] = (),
    *,
    preset: str | None = None,
    file_fields: Mapping[str, Any] | None = None,
) -> Iterator[ExperimentSpec]:
    """Yield the specs of a grid, the last axis fastest.

    Args:
        axes: complete field paths with their values, from flags and ``--set``.
        preset: see ``experiment_at``.
        file_fields: see ``experiment_at``.

    Raises:
        UnknownNameError: the preset does not exist.
        SpecError: a field or a value cannot be.
    """
    for point in product(axes):
        yield experiment_at(point, preset=preset, file_fields=file_fields)


def experiment_at(
    point: Mapping[str, Any],
    *,
    preset: str | None = None,
    file_fields: Mapping[str, Any] | None = None,
) -> ExperimentSpec:
    """Return one spec; a later source wins: preset, recipe of the method, spec file, flags.

    Args:
        point: complete field paths with one value each, from flags and ``--set``.
        preset: name of the preset underneath; None is the one the file names, else the default.
        file_fields: fields of a spec file; its own field ``preset`` may name a preset, or ``none``,
            and ``spec_version`` the version of the language that it was written in.

    Raises:
        UnknownNameError: the preset does not exist.
        SpecError: a field or a value cannot be.
    """
    given = dict(file_fields or {})
    _check_version(given.pop("spec_version", SPEC_VERSION))
    named = given.pop("preset", None)
    chosen = preset if named is None or preset is not None else named
    base = load_preset(DEFAULT_PRESET if chosen is None else str(chosen))
    # Options are given as a whole or one by one: a whole set leaves nothing of those below.
    whole = [path for path in point if path.endswith(".options")]
    upper = overlay(without(given, whole), nest(point))
    common = base.get("experiment", {})
    name = value_at(overlay(common, upper), "pretrain.method.name")
    method = name if isinstance(name, str) else "simclr"
    recipe = base.get("methods", {}).get(method, {})
    lower = overlay(overlay(common, nest({"pretrain.method.name": method})), recipe)
    return ExperimentSpec.parse(overlay(without(lower, whole), upper))


def _check_version(version: Any) -> None:
    # A truth value would be 1.
    if type(version) is not int or not 1 <= version <= SPEC_VERSION:
        raise SpecError(
            f"spec: spec_version is {shown(version)}, this emabench reads {SPEC_VERSION}",
            hint="a newer emabench wrote it: pip install --upgrade emabench",
        )


def overlay(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested fields over others.

    Where ``upper`` gives a group another ``name``, the ``options`` of the old name are dropped:
    the options of a ResNet mean nothing to a ViT, nor does its stem.
    """
    result = dict(lower)
    if "name" in upper and upper["name"] != lower.get("name", upper["name"]):
        for field in _OWN_FIELDS:
            result.pop(field, None)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = overlay(below, value)
        else:
            result[key] = value
    return result


def without(fields: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return nested fields with nothing at the given paths."""
    result = dict(fields)
    for path in paths:
        group, _, rest = path.partition(".")
        if not rest:
            result.pop(group, None)
        elif isinstance(below := result.get(group), Mapping):
            result[group] = without(below, [rest])
    return result
