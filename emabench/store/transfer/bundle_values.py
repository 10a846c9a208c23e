"""A line of a bundle becomes values of columns, each of the type that its column holds.

Nobody knows where a bundle comes from: what does not fit is refused, whatever a database would make
of it.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Enum,
    Float,
    Integer,
    LargeBinary,
    String,
    inspect,
)

from emabench.records import JobKind, JobState
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Series,
    Table,
)
from emabench.store.transfer.bundle import OWN_KEYS

_JOB_ID = re.compile(r"[0-9a-f]{12}")
"""A folder is named after it."""
_INFINITE = {"inf": math.inf, "-inf": -math.inf}
_NESTED: dict[str, type] = {"spec": dict, "identity": dict, "versions": dict, "warnings": list}
"""What the JSON columns hold."""


def run_values(line: Any) -> dict[str, Any]:
    """Return a run with the values of its columns, after a look at whether it may be stored.

    Args:
        line: as JSON gave it.

    Returns:
        ``run``, the names of its ``studies`` and a list of ``jobs``; each job has its ``job``,
        ``attempts``, ``metrics`` and ``results``; each attempt has its ``attempt``, and
        ``environment`` and ``cost`` or None.

    Raises:
        ValueError: a value is missing or of another type, or a store would be broken by the run.
    """
    jobs = [_job(values) for values in _list(line, "jobs")]
    _check_jobs([each["job"] for each in jobs])
    # A bundle of a store that knew no studies says nothing of them.
    studies = [_text(name, None) for name in _list(line, "studies")] if "studies" in line else []
    run = _columns(Experiment, line)
    if _is_evaluation([each["job"] for each in jobs]) and "weights" not in run["spec"]:
        raise ValueError("it is an evaluation, and does not say of which weights")
    return {"run": run, "studies": studies, "jobs": jobs}


def _job(line: Any) -> dict[str, Any]:
    job = _columns(Job, line)
    attempts = [_attempt(values) for values in _list(line, "attempts")]
    numbers = [each["attempt"]["number"] for each in attempts]
    if numbers != list(range(1, job["attempt"] + 1)):
        raise ValueError(f"job {job['id']} says {job['attempt']} attempts, these are {numbers}")
    states = [job["state"], *(each["attempt"]["state"] for each in attempts)]
    if not all(state.is_finished for state in states):
        raise ValueError(f"job {job['id']} is not finished")
    if job["state"] is JobState.DONE and states[-1] is not JobState.DONE:
        raise ValueError(f"job {job['id']} is done, but its newest attempt is {states[-1]}")
    metrics = [
        {**_columns(Series, values), **_columns(Metric, values)}
        for values in _list(line, "metrics")
    ]
    results = [_columns(Result, values) for values in _list(line, "results")]
    _check_unique(f"metric of job {job['id']}", ((m["step"], m["name"]) for m in metrics))
    _check_unique(f"result of job {job['id']}", (result["name"] for result in results))
    return {"job": job, "attempts": attempts, "metrics": metrics, "results": results}


def _attempt(line: Any) -> dict[str, Any]:
    attempt = _columns(Attempt, line)
    environment, cost = _item(line, "environment"), _item(line, "cost")
    return {
        "attempt": attempt,
        "environment": None if environment is None else _columns(EnvironmentRow, environment),
        "cost": None if cost is None else _columns(Cost, cost),
    }


def _check_jobs(jobs: Sequence[Mapping[str, Any]]) -> None:
    whole = bool(jobs) and (
        _is_evaluation(jobs) or _is_bench(jobs) or jobs[0]["kind"] is JobKind.PRETRAIN
    )
    if not whole:
        raise ValueError("it does not begin with a pretraining")
    _check_unique("job", (job["id"] for job in jobs))
    if [job["position"] for job in jobs] != list(range(len(jobs))):
        raise ValueError("its jobs are out of order")
    done: dict[str, bool] = {}
    for job in jobs:
        needed = job["depends_on"]
        if not _JOB_ID.fullmatch(job["id"]):
            raise ValueError(f"{job['id']!r} is no id of a job")
        if needed is not None and needed not in done:
            raise ValueError(f"job {job['id']} needs {needed!r}, which is no job before it")
        if job["kind"] is JobKind.LINEAR_EVAL and needed is None and not _is_evaluation(jobs):
            raise ValueError(f"evaluation {job['id']} needs no pretraining")
        done[job["id"]] = job["state"] is JobState.DONE
        if done[job["id"]] and needed is not None and not done[needed]:
            raise ValueError(f"job {job['id']} is done, but {needed}, which it needs, is not")


def _is_evaluation(jobs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is an evaluation of its own, which is one job."""
    return [job["kind"] for job in jobs] == [JobKind.LINEAR_EVAL]


def _is_bench(jobs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is a bench, which is one job."""
    return [job["kind"] for job in jobs] == [JobKind.BENCH]


def _check_unique(what: str, keys: Iterator[Any]) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"there are two of {what}: {key}")
        seen.add(key)


def _item(line: Any, key: str) -> Any:
    if not isinstance(line, dict) or key not in line:
        raise ValueError(f"{key} is missing")
    return line[key]


def _list(line: Any, key: str) -> list[Any]:
    found = _item(line, key)
    if not isinstance(found, list):
        raise ValueError(f"{key} is no list")
    return found


def _columns(table: type[Table], line: Any) -> dict[str, Any]:
    """Return the values of the columns; one that an older bundle does not have takes its default.

    Raises:
        ValueError: a value is missing or of another type.
    """
    found = {}
    for column in inspect(table).columns:
        if column.key in OWN_KEYS[table]:
            continue
        if column.default is not None and column.key not in line:
            continue
        try:
            found[column.key] = _value(column, _item(line, column.key))
        except (ValueError, TypeError, OverflowError) as error:
            said = str(error)
            if not said.endswith("is missing"):
                said = f"{table.__tablename__}.{column.key}: {said}"
            raise ValueError(said) from None
    return found


def _value(column: Column[Any], value: Any) -> Any:
    """Return a value in the type of its column; raises ValueError or TypeError if it has none."""
    kind = column.type
    if value is None:
        if column.nullable:
            return None
        raise ValueError("it is null")
    if isinstance(kind, Enum):
        assert kind.enum_class is not None
        return kind.enum_class(value)
    if isinstance(kind, LargeBinary):
        return base64.b64decode(value, validate=True)
    if isinstance(kind, Float):
        return _float(value)
    if isinstance(kind, JSON):
        return _of_type(value, _NESTED[column.key])
    if isinstance(kind, Boolean):
        return _of_type(value, bool)
    if isinstance(kind, Integer):
        return _integer(value, bits=64 if isinstance(kind, BigInteger) else 32)
    if isinstance(kind, String):
        return _text(value, kind.length)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return moment


def _float(value: Any) -> float:
    number = _INFINITE.get(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        raise ValueError(f"{value!r} is no number")
    return float(number)


def _integer(value: Any, *, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value.bit_length() >= bits:
        raise ValueError(f"{value!r} is no whole number of {bits} bits")
    return value


def _text(value: Any, length: int | None) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is no text")
    if length is not None and len(value) > length:
        raise ValueError(f"{value!r} is longer than {length}")
    value.encode()  # half of a surrogate pair is no text either
    return value


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
