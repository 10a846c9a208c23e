"""Which runs somebody asks for: conditions on fields, in words or as values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from emabench.records import RunQuery
from emabench.spec.paths import field_value
from emabench.store.runs.condition import RunCondition, parse_condition
from emabench.store.runs.run_field import RunField


def run_query(
    where: Mapping[str, Any] | Iterable[str] | None = None,
    *,
    ids: Iterable[str] | None = None,
    name: str | None = None,
    study: str | None = None,
    smoke: bool = False,
) -> RunQuery:
    """Return the query that conditions stand for.

    Args:
        where: values by field, or conditions as ``--where`` takes them: ``method=moco``,
            ``top1>80``. The text of a value means what it means there.
        ids: ids of runs, unique beginnings of some, or ``@last``.
        name: the name that the runs were given.
        study: the study that they belong to.
        smoke: whether smoke runs are wanted too.

    Raises:
        SpecError: there is no such field, or it cannot have the value.
    """
    if isinstance(where, Mapping):
        conditions = tuple(f"{field}={_in_words(value)}" for field, value in where.items())
        parsed = [_condition(field, value) for field, value in where.items()]
    else:
        conditions = tuple(where or ())
        parsed = [parse_condition(condition) for condition in conditions]
    # The database can look for these by itself, for one value of a field.
    equal: dict[str, RunCondition] = {}
    for each in parsed:
        if each.field.kind == "spec" and each.sign == "=":
            equal.setdefault(each.field.key, each)
    return RunQuery(
        {path: each.value for path, each in equal.items()},
        name,
        study,
        tuple(ids or ()),
        smoke,
        conditions,
        tuple(each for each in parsed if each not in equal.values()),
    )


def _condition(name: str, value: Any) -> RunCondition:
    if isinstance(value, str):
        return parse_condition(f"{name}={value}")
    field = RunField.parse(name)
    if field.kind == "spec":
        value = field_value(field.key, value, what=f"--where {name}")
    return RunCondition(field, "=", value)


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
