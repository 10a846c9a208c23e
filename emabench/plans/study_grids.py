"""From a study and a budget to the specs of its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.errors import SpecError, UsageError
from emabench.spec.experiment import ExperimentSpec
from emabench.spec.grid import product
from emabench.spec.paths import SHORT_NAMES
from emabench.spec.scope import every_scope
from emabench.spec.settings import experiment_at
from emabench.spec.study import EVERY, Study

Axes = Sequence[tuple[str, list[Any]]]
"""Complete field paths with their values."""
BlocksOf = Callable[[ExperimentSpec], Sequence[str]]
"""Names the blocks of the encoder that a spec describes, first to last, the projector included."""

_SCOPE, _SEED = SHORT_NAMES["ema_scope"], SHORT_NAMES["seed"]


@dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Attributes:
        point: what it sets above the preset: complete field paths with one value each.
        spec: the complete spec, not resolved yet.
    """

    point: Mapping[str, Any]
    spec: ExperimentSpec


def study_runs(
    study: Study, budget: str, *, changes: Axes = (), blocks_of: BlocksOf
) -> list[StudyRun]:
    """Return the runs of a study, each once.

    The seed runs slowest: a study that is stopped early has whole pairs to compare.

    Args:
        study: the study.
        budget: name of one of its budgets.
        changes: fields that the user sets; they win over the arms and the budget.
        blocks_of: asked where an arm takes every scope.

    Raises:
        UnknownNameError: the study has no such budget.
        UsageError: a change is to what the study compares.
        SpecError: a field or a value cannot be, or the runs are not as many as the study says.
    """
    given = dict(changes)
    if study.spec.factor in given:
        raise UsageError(
            f"the study {study.name} compares {study.spec.by}, which cannot be set",
            hint=f"copy {study.file}, change its arms and run the copy",
        )
    chosen = study.budget(budget)
    seeds = given.pop(_SEED, chosen.seeds)
    found: dict[str, StudyRun] = {}
    try:
        grids = arm_grids(study, budget, changes=tuple(given.items()), blocks_of=blocks_of)
        for seed in seeds:
            for grid in grids:
                for point in product([*grid.items(), (_SEED, [seed])]):
                    spec = experiment_at(point, preset=chosen.preset)
                    found.setdefault(spec.model_dump_json(), StudyRun(point, spec))
    except SpecError as error:
        message = error.message.removeprefix("spec: ")
        raise SpecError(f"study {study.name}, {budget}: {message}", hint=error.hint) from None
    if chosen.runs is not None and not changes and len(found) != chosen.runs:
        raise SpecError(
            f"study {study.name}, {budget}: it says {chosen.runs} runs, "
            f"but its arms come to {len(found)}",
            hint="correct runs, or leave it out",
        )
    return list(found.values())


def arm_grids(
    study: Study, budget: str, *, changes: Axes = (), blocks_of: BlocksOf
) -> list[dict[str, list[Any]]]:
    """Return what the arms set above the preset of a budget: values by path, without the seed.

    An arm that takes every scope is a grid for each encoder that it trains.
    """
    chosen = study.budget(budget)
    grids: list[dict[str, list[Any]]] = []
    for arm in study.spec.arms:
        grid = {**chosen.set, **arm, **dict(changes)}
        if EVERY in grid.get(_SCOPE, []):
            grids.extend(_with_every_scope(grid, chosen.preset, blocks_of))
        else:
            grids.append(grid)
    return grids


def _with_every_scope(
    grid: Mapping[str, list[Any]], preset: str, blocks_of: BlocksOf
) -> Iterator[dict[str, list[Any]]]:
    for point in product([*grid.items(), (_SCOPE, ["none"])]):
        every = every_scope(blocks_of(experiment_at(point, preset=preset)))
        scopes = [s for named in grid[_SCOPE] for s in (every if named == EVERY else [named])]
        single = {path: [value] for path, value in point.items()}
        yield {**single, _SCOPE: list(dict.fromkeys(scopes))}
