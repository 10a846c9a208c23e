"""Conditions on runs as ``--where`` takes them: ``method=moco``, ``top1>80``, ``note~noisy``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emabench.errors import SpecError, UnknownNameError
from emabench.records import JobState, RunRecord
from emabench.spec.paths import as_resolved, is_text, read_condition
from emabench.spec.plain import shown
from emabench.store.runs.run_field import RunField

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.eq,  # of none of the values
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "~": lambda value, text: text in str(value).casefold(),
}
_CONDITION = re.compile(r"([^=<>~!]+)(!=|>=|<=|=|>|<|~)(.*)", re.DOTALL)


@dataclass(frozen=True)
class RunCondition:
    """One condition, which a run meets or not.

    Attributes:
        field: what it is about.
        sign: ``=``, ``!=``, ``>``, ``<``, ``>=``, ``<=``, or ``~`` for "contains, whatever case".
        value: to compare with.
    """

    field: RunField
    sign: str
    value: Any

    def __call__(self, run: RunRecord) -> bool:
        """Whether a run meets it; what is unknown is neither more nor less than anything."""
        values = self.field.values(run)
        if self.field.kind == "spec" and self.sign in ("=", "!="):
            found = holds(run, as_resolved({self.field.key: self.value}))
            return found == (self.sign == "=")
        if self.value is None or self.sign == "!=":
            met = self.value in values or (self.value is None and not values)
            return met != (self.sign == "!=")
        compare = _SIGNS[self.sign]
        return any(compare(v, self.value) for v in values if self._can_be_compared(v))

    def _can_be_compared(self, value: Any) -> bool:
        if self.sign in ("=", "~"):
            return value is not None
        kind = datetime if isinstance(self.value, datetime) else float | int
        return isinstance(value, kind)


def parse_condition(text: str) -> RunCondition:
    """Read a condition.

    Raises:
        SpecError: it has no sign, is about nothing that a run has, or the value does not fit.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise SpecError(
            f"--where {shown(text)} has no '='", hint="for example --where ema_scope=full"
        )
    name, sign, value = found.groups()
    field = RunField.parse(name)
    if sign == "~":
        return RunCondition(field, sign, value.strip().casefold())
    if sign in ("=", "!="):
        return RunCondition(field, sign, _equal(field, value))
    return RunCondition(field, sign, _bound(field, value.strip(), text))


def _equal(field: RunField, value: str) -> Any:
    if field.kind == "spec":
        return read_condition(f"{field.name}={value}")[1]
    text = value.strip()
    if text == "null":
        return None
    if field.key == "state" and text not in list(JobState):
        raise UnknownNameError("state", text, [state.value for state in JobState])
    if field.key == "created" or field.kind in ("result", "cost"):
        return _bound(field, text, f"{field.name}={value}")
    return text


def _bound(field: RunField, value: str, text: str) -> float | datetime:
    """Return the number, or the moment, that values are compared with."""
    if field.key == "created":
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            raise SpecError(
                f"--where {shown(text)}: {shown(value)} is no date",
                hint="for example created>2026-01-31",
            ) from None
    if field.kind == "label" or (field.kind == "spec" and is_text(field.key)):
        raise SpecError(
            f"--where {shown(text)}: {field.name} is text, not more or less than anything",
            hint="= asks for the whole of it, ~ for a part",
        )
    try:
        return float(value)
    except ValueError:
        raise SpecError(
            f"--where {shown(text)}: {shown(value)} is no number", hint="for example top1>80"
        ) from None


def holds(run: Any, values: Mapping[str, Any]) -> bool:
    """Whether a run has all of these values.

    Args:
        run: a record, or anything with a ``spec`` and an ``identity``.
        values: by complete path of a field, in the words of a resolved spec.
    """
    return all(
        wanted in RunField(path, "spec", path).values(run) for path, wanted in values.items()
    )
