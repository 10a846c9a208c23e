"""The factor of a comparison: the field whose values are compared, and what changes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from emabench.analysis.arms import METHOD, SCOPE, SEED, TOLD_BY_IDENTITY, fields_of
from emabench.errors import SpecError, UsageError
from emabench.records import RunRecord
from emabench.spec.paths import SHORT_NAMES, all_paths, full_path

_OF_A_RUN: dict[str, Callable[[RunRecord], str | None]] = {
    "name": lambda run: run.name,
    "commit": lambda run: None if run.environment is None else run.environment.commit,
}
"""Factors that are no field of the spec: what tells the code of two branches apart."""

_GO_ALONG = {
    METHOD: ("pretrain.method.options.", "plugins.method"),
    "pretrain.backbone.name": ("pretrain.backbone.options.", "plugins.backbone"),
    "pretrain.data.dataset": ("pretrain.data.data_dir", "data", "plugins.dataset"),
    "pretrain.augmentation.local_views.count": ("pretrain.augmentation.local_views.size",),
    "teacher": (
        "pretrain.ema.decay",
        "pretrain.ema.final_decay",
        "pretrain.ema.schedule",
        "pretrain.ema.buffers",
        "pretrain.ema.every",
    ),
    "pretrain.epochs": ("pretrain.extends.",),
    "device_kind": ("precision",),
}
"""Fields, or beginnings of fields, that have another meaning under each value of a factor."""


@dataclass(frozen=True)
class Factor:
    """A field whose values are compared.

    Attributes:
        path: complete path of the field, a name of the identity, ``name`` or ``commit``.
        name: the short name for people: ``ema_scope``, ``ema.decay``, ``threads``.
        along: fields, or groups of them, that differ by design along with it.
    """

    path: str
    name: str
    along: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, along: Iterable[str] = ()) -> Factor:
        """Read what ``--by`` takes: any field of the spec, ``name`` or ``commit``.

        Args:
            text: the field.
            along: fields, or groups of them, as ``--along`` takes them.

        Raises:
            SpecError: there is no such field.
            UsageError: it is the seed, or a group of fields.
        """
        others = tuple(map(full_path, along))
        if text.strip() in _OF_A_RUN:
            return cls(text.strip(), text.strip(), others)
        try:
            path = full_path(text)
        except SpecError as error:
            raise SpecError(f"--by: {error.message}", hint=error.hint) from None
        if path == SEED:
            raise UsageError(
                "--by seed: runs are paired by their seeds", hint="compare --runs shows every seed"
            )
        inner = [each for each in all_paths() if each.startswith(f"{path}.")]
        if inner:
            near = ", ".join(each.removeprefix("pretrain.") for each in inner[:4])
            raise UsageError(f"--by {text} is a group of fields", hint=f"name one of them: {near}")
        names = {whole: short for short, whole in SHORT_NAMES.items()}
        of_identity = {p: name for name, paths in TOLD_BY_IDENTITY.items() for p in paths}
        short = names.get(path, path.removeprefix("pretrain."))
        return cls(of_identity.get(path, path), short, others)

    @property
    def is_scope(self) -> bool:
        """Whether it is the EMA scope."""
        return self.path == SCOPE

    def goes_along(self, field: str) -> bool:
        """Whether a field may differ beside the factor, because it belongs to its value."""
        if field == self.path or field.startswith(_GO_ALONG.get(self.path, ())):
            return True
        return any(field == path or field.startswith(f"{path}.") for path in self.along)

    def fields_of(self, run: RunRecord) -> dict[str, Any]:
        """Return all fields of a run by path, the factor among them."""
        fields = fields_of(run)
        if self.path in _OF_A_RUN:
            fields[self.path] = _OF_A_RUN[self.path](run)
        return fields

    def value(self, fields: Mapping[str, Any]) -> Any:
        """Return the value of the factor among the fields of an arm."""
        return fields.get(self.path)


EMA_SCOPE = Factor(SCOPE, "ema_scope")
"""The factor unless another is asked for."""
