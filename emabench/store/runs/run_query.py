"""Which runs somebody asks for: conditions on fields, in words or as values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from emabench.records import RunQuery
from emabench.spec.paths import field_value, full_path, read_condition


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
        where: values by field, or conditions as ``--where`` takes them: ``method=moco``. The text
            of a value means what it means there.
        ids: ids of runs, unique beginnings of some, or ``@last``.
        name: the name that the runs were given.
        study: the study that they belong to.
        smoke: whether smoke runs are wanted too.

    Raises:
        SpecError: there is no such field, or it cannot have the value.
    """
    if isinstance(where, Mapping):
        filters = dict(_filter(field, value) for field, value in where.items())
        conditions = tuple(f"{field}={_in_words(value)}" for field, value in where.items())
    else:
        conditions = tuple(where or ())
        filters = dict(read_condition(condition) for condition in conditions)
    return RunQuery(filters, name, study, tuple(ids or ()), smoke, conditions)


def _filter(field: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, str):
        return read_condition(f"{field}={value}")
    path = full_path(field)
    return path, field_value(path, value, what=f"--where {field}")


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
