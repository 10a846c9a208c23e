"""Which plugins a run uses, as its identity and its jobs say it: ``method:soft_simclr@1f2e…``.

A reference has a kind, a name and a digest of code, never a path: it can be compared, and nothing
can be loaded from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from emabench.records import JobKind
from emabench.spec.paths import value_at

PLUGINS = "plugins"
"""The identity's name for the references of a run; a run without plugins has no such key."""
_REFERENCE = re.compile(r"(method|dataset|backbone):([A-Za-z][\w.-]{0,63})@([0-9a-f]{32})", re.A)
_SHOWN = 8
"""Digits of a digest that tell two versions apart to a person."""


class PluginKind(StrEnum):
    """What a plugin can be."""

    METHOD = "method"
    DATASET = "dataset"
    BACKBONE = "backbone"

    @property
    def noun(self) -> str:
        """What a message calls it."""
        return "data set" if self is PluginKind.DATASET else self.value


@dataclass(frozen=True)
class PluginReference:
    """One plugin by its kind, its name, and 32 hex digits that identify its code."""

    kind: PluginKind
    name: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``str`` returned; None if the text is no reference."""
        found = _REFERENCE.fullmatch(text)
        return None if found is None else cls(PluginKind(found[1]), found[2], found[3])

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}@{self.digest}"

    @property
    def words(self) -> str:
        """Return what a person is told: ``method soft_simclr (1f2e3d4c)``."""
        return f"{self.kind.noun} {self.name} ({self.digest[:_SHOWN]})"


def is_plugin_name(name: str) -> bool:
    """Whether a plugin may have this name: letters, digits, ``_``, ``.`` and ``-``."""
    return PluginReference.parse(f"method:{name}@{'0' * 32}") is not None


def references_in(identity: Mapping[str, Any]) -> tuple[PluginReference, ...]:
    """Return the references of an identity, whoever wrote it; what is none is left out."""
    texts = identity.get(PLUGINS)
    return parse_references(texts if isinstance(texts, list | tuple) else ())


def parse_references(texts: Iterable[Any]) -> tuple[PluginReference, ...]:
    """Return the references among some texts."""
    return tuple(filter(None, (PluginReference.parse(str(text)) for text in texts)))


def needed_by(
    kind: JobKind, spec: Mapping[str, Any], identity: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the references that one job of a run needs, sorted.

    A pretraining needs nothing that only its evaluation looks at; an evaluation needs no method.

    Args:
        kind: of the job.
        spec: the resolved experiment.
        identity: of the run.
    """
    used = set(_names(kind, spec))
    return tuple(sorted(str(r) for r in references_in(identity) if (r.kind, r.name) in used))


def _names(kind: JobKind, spec: Mapping[str, Any]) -> Iterator[tuple[PluginKind, Any]]:
    trained_on = value_at(spec, "pretrain.data.dataset")
    yield PluginKind.BACKBONE, value_at(spec, "pretrain.backbone.name")
    if kind is JobKind.LINEAR_EVAL:
        evaluated = value_at(spec, "evaluation.data.dataset")
        yield PluginKind.DATASET, trained_on if evaluated is None else evaluated
    else:
        yield PluginKind.METHOD, value_at(spec, "pretrain.method.name")
        yield PluginKind.DATASET, trained_on
