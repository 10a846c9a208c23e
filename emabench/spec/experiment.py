"""The spec of an experiment: a pretraining and the evaluation of what it learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from emabench.errors import NotFoundError, SpecError
from emabench.spec.data import DataSpec
from emabench.spec.linear_eval import LinearEvalSpec
from emabench.spec.model import SpecModel
from emabench.spec.plain import shown
from emabench.spec.pretrain import EmaSpec, PretrainSpec
from emabench.spec.version import SPEC_VERSION
from emabench.spec.yaml_reader import MOST_CHARACTERS, NOT_YAML, YamlError, read_yaml


class BenchSpec(SpecModel):
    """What a bench measures; everything else about its steps is as in the pretraining beside it."""

    arms: Annotated[tuple[EmaSpec, ...], Field(min_length=1)]
    """They differ only in their EMA; the others are compared with the first. Only
    ``emabench bench`` sets it, like all of ``bench``."""
    steps: Annotated[int, Field(ge=2)] | None = None
    """Timed steps of each arm; None: as many as ``seconds`` allow."""
    seconds: Annotated[float, Field(gt=0)] = 15.0
    """Time for all timed steps together; at least four steps of each arm are timed anyway."""


class ExperimentSpec(SpecModel):
    """What ``emabench run`` does: one pretraining, one evaluation.

    ``emabench eval`` does only the latter, on finished ``weights``.
    """

    pretrain: PretrainSpec = PretrainSpec()
    evaluation: LinearEvalSpec = LinearEvalSpec()
    smoke: bool = False
    """Marks a run that only proves that the program works: comparisons leave it out."""
    profile: bool = False
    """Writes a trace of some steps beside the weights; the costs of such a run are left out of
    comparisons. Set by ``emabench run --profile``."""
    weights: str | None = None
    """Id of the run whose weights are evaluated, or the absolute path of a safetensors file; None:
    the weights of the run's own pretraining. Only ``emabench eval`` sets it."""

    bench: BenchSpec | None = None
    """For a bench: the arms whose steps are timed; nothing is evaluated."""

    @model_validator(mode="before")
    @classmethod
    def _images_of_the_evaluation(cls, fields: Any) -> Any:
        """Take from the pretraining's images what those of the evaluation leave open."""
        evaluation, pretrain = _group(fields, "evaluation"), _group(fields, "pretrain")
        if not isinstance(evaluation.get("data"), Mapping):
            return fields
        given, trained_on = evaluation["data"], _group(pretrain, "data")
        name = trained_on.get("dataset", DataSpec().dataset)
        if given.get("dataset", name) != name:
            return fields
        data = {"dataset": name, **trained_on, **given}
        return {**fields, "evaluation": {**evaluation, "data": data}}

    def to_yaml(self) -> str:
        """Return the whole spec, defaults included, as YAML that ``load_fields`` reads."""
        return to_yaml(self.model_dump(mode="json"))

    @classmethod
    def from_yaml(cls, text: str, *, what: str = "spec") -> Self:
        """Read a spec back from YAML."""
        return cls.parse(parse_yaml(text, what=what), what=what)


def _group(fields: Any, name: str) -> Mapping[str, Any]:
    """Return a group of nested plain values; an empty one where there is none."""
    found = fields.get(name) if isinstance(fields, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def to_yaml(fields: Mapping[str, Any]) -> str:
    """Write nested plain values as YAML, in the order they have."""
    return yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True)


def complete_yaml(fields: Mapping[str, Any]) -> str:
    """Write a complete spec as a spec file that means the same over every preset: over none."""
    return to_yaml({"spec_version": SPEC_VERSION, "preset": "none", **fields})


def parse_yaml(
    text: str, *, what: str, is_text: Callable[[str], bool] | None = None
) -> dict[str, Any]:
    """Read YAML that must be a mapping.

    Args:
        text: the YAML.
        what: names the source in a message.
        is_text: says whether the field at a dotted path holds text; by default those of a spec.

    Raises:
        SpecError: the text is no YAML, no mapping, or says a thing twice.
    """
    try:
        fields = read_yaml(text, is_text or _is_text)
    except YamlError as error:
        where = "" if error.line is None else f" in line {error.line}"
        raise SpecError(f"{what} {error.reason}{where}", hint=error.hint) from None
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise SpecError(
            f"{what} holds a {type(fields).__name__}, not fields",
            hint="'emabench spec show' prints a complete example",
        )
    return fields


def _is_text(path: str) -> bool:
    from emabench.spec.paths import is_text  # knows the fields of this module

    return path == "preset" or is_text(path)


def parse_scalar(text: str, *, what: str) -> Any:
    """Read one value of the command line as YAML: a number, a word, a list, null.

    Raises:
        SpecError: the text is no YAML.
    """
    try:
        return read_yaml(text)
    except YamlError as error:
        reason = "is not a valid value" if error.reason == NOT_YAML else error.reason
        raise SpecError(f"{what}={shown(text)} {reason}", hint=error.hint) from None


def load_fields(path: Path, *, is_text: Callable[[str], bool] | None = None) -> dict[str, Any]:
    """Read the fields of a spec file.

    Args:
        path: the file.
        is_text: see ``parse_yaml``.

    Raises:
        NotFoundError: there is no such file.
        SpecError: the file cannot be read or is not a mapping in YAML.
    """
    hint = "'emabench spec show > spec.yaml' writes one"
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise SpecError(f"cannot read the spec file {path}: not a regular file", hint=hint)
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except FileNotFoundError:
        raise NotFoundError(f"no spec file {path}", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SpecError(f"cannot read the spec file {path}: {reason}", hint=hint) from None
    return parse_yaml(text, what=str(path), is_text=is_text)


def unreadable(spec: Any) -> str | None:
    """Return why nothing can be read from the spec of a store or a bundle; None if it can.

    What counts is its shape: groups are groups, and values of the type that their fields have.
    Fields and choices that this version does not know keep nobody from reading the others.

    Args:
        spec: plain values.
    """
    shape = _shape(spec)
    if shape not in _LOOKED_AT:
        _LOOKED_AT[shape] = _why(spec)
    return _LOOKED_AT[shape]


_LOOKED_AT: dict[Any, str | None] = {}
"""Thousands of runs have a few shapes, and looking at one takes longer than reading its run."""


def _shape(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return (*value, *map(_shape, value.values()))
    if kind is list:
        return (kind, *map(_shape, value))
    return kind


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
