"""The spec of an experiment: a pretraining and the evaluation of what it learned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import model_validator

from emabench.errors import NotFoundError, SpecError
from emabench.spec.bench import BenchSpec
from emabench.spec.data import DataSpec
from emabench.spec.linear_eval import LinearEvalSpec
from emabench.spec.model import SpecModel
from emabench.spec.pretrain import PretrainSpec
from emabench.spec.version import SPEC_VERSION


class ExperimentSpec(SpecModel):
    """What ``emabench run`` does: one pretraining, one evaluation.

    ``emabench eval`` does only the latter, on finished ``weights``.
    """

    pretrain: PretrainSpec = PretrainSpec()
    evaluation: LinearEvalSpec = LinearEvalSpec()
    smoke: bool = False
    """Marks a run that only proves that the program works: comparisons leave it out."""
    profile: bool = False
    """Writes a trace of some steps beside the weights; what such a run costs is compared with
    nothing. Set by ``emabench run --profile``."""
    weights: str | None = None
    """For an evaluation of its own: id of the run whose weights are evaluated, or the absolute path
    of a safetensors file; None: those of the own pretraining. Set by
    ``emabench eval`` alone."""

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


def parse_yaml(text: str, *, what: str) -> dict[str, Any]:
    """Read YAML that must be a mapping.

    Raises:
        SpecError: the text is no YAML, or no mapping.
    """
    try:
        fields = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise SpecError(
            f"{what} is not valid YAML{where}", hint="check indentation and colons"
        ) from None
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise SpecError(
            f"{what} holds a {type(fields).__name__}, not fields",
            hint="'emabench spec show' prints a complete example",
        )
    return fields


def parse_scalar(text: str, *, what: str) -> Any:
    """Read one value of the command line as YAML: a number, a word, a list, null.

    Raises:
        SpecError: the text is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise SpecError(
            f"{what}={text!r} is not a valid value", hint="quote text with special characters"
        ) from None


def load_fields(path: Path) -> dict[str, Any]:
    """Read the fields of a spec file.

    Raises:
        NotFoundError: there is no such file.
        SpecError: the file cannot be read or is not a mapping in YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"no spec file {path}", hint="'emabench spec show > spec.yaml' writes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SpecError(
            f"cannot read the spec file {path}: {reason}",
            hint="'emabench spec show > spec.yaml' writes one",
        ) from None
    return parse_yaml(text, what=str(path))


class _Loader(yaml.SafeLoader):
    """YAML with the words and numbers of version 1.2, as people and Python write them.

    Version 1.1 would read ``1e-4`` as text, ``010`` as 8, ``1:30`` as 90, ``no`` as false and
    ``2020-01-01`` as a date.
    """


_Loader.yaml_implicit_resolvers = {}

for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\d[\d_]*\.\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\d[\d_]*[eE][-+]?\d+",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )
