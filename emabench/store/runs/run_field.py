"""What can be asked of a run by name: fields of its spec, labels, results and costs.

``--where``, ``list --sort`` and ``list --columns`` speak of the same.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from emabench.errors import SpecError
from emabench.records import COST_READINGS, RUN_LABELS, USUAL_RESULTS, RunRecord
from emabench.spec.paths import full_path, value_at

_FEW_SHOT = re.compile(r"few_shot_[1-9]\d*")
OF_IDENTITY = {
    "pretrain.device": "device_kind",
    "pretrain.precision": "precision",
    "pretrain.threads": "threads",
}
"""Fields whose value the identity of a run may settle."""


@dataclass(frozen=True)
class RunField:
    """One thing that is known of a run.

    Attributes:
        name: as the user wrote it.
        kind: where it is found.
        key: complete path of a field of the spec, else the name.
    """

    name: str
    kind: Literal["spec", "label", "result", "cost"]
    key: str

    @classmethod
    def parse(cls, text: str) -> RunField:
        """Read a name.

        Raises:
            SpecError: a run has nothing of this name.
        """
        name = text.strip()
        if name in RUN_LABELS:
            return cls(name, "label", name)
        if name in USUAL_RESULTS or _FEW_SHOT.fullmatch(name):
            return cls(name, "result", name)
        if name in COST_READINGS:
            return cls(name, "cost", name)
        try:
            return cls(name, "spec", full_path(name))
        except SpecError as error:
            known = (*RUN_LABELS, *USUAL_RESULTS, *COST_READINGS)
            near = difflib.get_close_matches(name[:80], known, n=2, cutoff=0.7)
            hint = f"did you mean {' or '.join(near)}?" if near else error.hint
            raise SpecError(error.message, hint=hint) from None

    def values(self, run: RunRecord) -> tuple[Any, ...]:
        """Return what a run has here: one value, which may be None; any number of tags."""
        match self.kind:
            case "result":
                return (run.results.get(self.key),)
            case "cost":
                return (getattr(run.cost, self.key),)
            case "label":
                return _label(run, self.key)
        found = value_at(run.spec, self.key)
        if self.key in OF_IDENTITY and isinstance(run.identity, Mapping):
            return found, run.identity.get(OF_IDENTITY[self.key])
        return (found,)

    def value(self, run: RunRecord) -> Any:
        """Return what a run has here as one value; of several tags, their text."""
        if self.key in ("tag", "study"):
            return " ".join(self.values(run)) or None
        return self.values(run)[0]


def _label(run: RunRecord, name: str) -> tuple[Any, ...]:
    match name:
        case "tag":
            return run.tags
        case "study":
            return run.studies
        case "state":
            return (run.state.value,)
        case "created":
            return (run.created_at,)
    return (getattr(run, name),)


def sorted_runs(runs: Iterable[RunRecord], text: str) -> list[RunRecord]:
    """Return runs in the order of what a comma list names, such as ``ema_scope,-top1``.

    A minus turns an order round; runs of which something is unknown come last in either.

    Raises:
        SpecError: a run has nothing of a name.
    """
    ordered = list(runs)
    for part in reversed(text.split(",")):
        turned = part.strip().startswith("-")
        field = RunField.parse(part.strip().removeprefix("-"))
        known = [run for run in ordered if field.value(run) is not None]
        known.sort(key=lambda run: _rank(field.value(run)), reverse=turned)
        ordered = known + [run for run in ordered if field.value(run) is None]
    return ordered


def _rank(value: Any) -> tuple[Any, ...]:
    """Return a key by which values of any kind can be sorted: numbers, then moments, then text."""
    if isinstance(value, int | float):
        return 0, value, ""
    if hasattr(value, "timestamp"):
        return 1, value.timestamp(), ""
    return 2, 0, str(value)
