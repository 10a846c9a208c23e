"""Planned runs as a table: what a sweep consists of, its steps and its time, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emabench.analysis.arms import METHOD, SCOPE, flat_fields
from emabench.analysis.pace import TimeEstimate, estimate_time
from emabench.records import PlannedRun, RunRecord
from emabench.report.tables.comparison_columns import field_headers
from emabench.spec.paths import SHORT_NAMES, value_at
from emabench.table import UNKNOWN, Table, counted, duration, show_known, show_value

_SEED = SHORT_NAMES["seed"]
_HEADERS = ("method", "ema_scope")
_SIZES = ("runs", "steps", "time")


def plan_table(plans: Sequence[PlannedRun], earlier: Sequence[RunRecord]) -> Table:
    """Return a line for the runs that differ only in their seed.

    Args:
        plans: the runs.
        earlier: those of the store, by which the time is judged.

    Returns:
        Method, scope, the other fields that differ among the runs of one method, seeds, the number
        of runs, the steps of each, and the time of those that are not done.
    """
    fields = [{**flat_fields(plan.spec), _SEED: None} for plan in plans]
    differing = _differing(fields)
    arms: dict[str, list[int]] = {}
    for place, values in enumerate(fields):
        arms.setdefault(show_value(sorted(values.items())), []).append(place)
    rows = [
        (
            *(str(fields[places[0]].get(path)) for path in (METHOD, SCOPE)),
            *(show_known(fields[places[0]].get(path)) for path in differing),
            _seeds([value_at(plans[place].spec, _SEED) for place in places]),
            str(len(places)),
            _steps(plans[places[0]]),
            _time(estimate_time([plans[place] for place in places], earlier)),
        )
        for places in arms.values()
    ]
    headers = (*_HEADERS, *field_headers(differing).values(), "seed", *_SIZES)
    return Table(headers, tuple(rows), right=frozenset(_SIZES), whole=frozenset({"ema_scope"}))


def plan_summary(plans: Sequence[PlannedRun], estimate: TimeEstimate | None) -> str:
    """Return on one line how much there is to do.

    Args:
        plans: the runs.
        estimate: None without a store.
    """
    runs = counted(len(plans), "run")
    jobs = sum(len(plan.kinds) for plan in plans)
    steps = sum(plan.steps for plan in plans if plan.steps is not None)
    parts = [runs, counted(jobs, "job"), f"{steps:,} steps"]
    return ", ".join([*parts, _in_words(estimate)])


def _in_words(found: TimeEstimate | None) -> str:
    if found is not None and found.runs == 0:
        return "all of them are done already"
    if found is None or found.seconds is None:
        return "no estimate: the store has no finished run like these"
    which = "" if found.estimated == found.runs else f" for {found.estimated} of {found.runs} runs"
    by = counted(found.sources, "earlier run")
    return f"about {duration(found.seconds)}{which}, one after the other, judged by {by}"


def _differing(fields: Sequence[dict[str, Any]]) -> list[str]:
    """Return the paths of the fields that differ among the runs of one method."""
    known: dict[tuple[Any, str], set[str]] = {}
    for values in fields:
        for path, value in values.items():
            known.setdefault((values.get(METHOD), path), set()).add(show_value(value))
    paths = dict.fromkeys(path for (_, path), texts in known.items() if len(texts) > 1)
    return [path for path in paths if path != SCOPE]


def _seeds(seeds: Sequence[int]) -> str:
    """Write seeds as the command line takes them: ``0..4``, ``1,3``."""
    ordered = sorted(seeds)
    is_range = len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1))
    return f"{ordered[0]}..{ordered[-1]}" if is_range else ",".join(map(str, ordered))


def _steps(plan: PlannedRun) -> str:
    return UNKNOWN if plan.steps is None else f"{plan.steps:,}"


def _time(estimate: TimeEstimate) -> str:
    return "done" if estimate.runs == 0 else duration(estimate.seconds)
