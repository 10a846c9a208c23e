"""A study as planned runs: the points of its grid, the commands it equals, and what follows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from emabench.analysis.metrics import parse_metric
from emabench.errors import SpecError, UsageError
from emabench.extensions.named_plugins import named_plugins
from emabench.plans.grids import Axes, GridPoint, command_line, flag_words
from emabench.spec import BackboneSpec, ExperimentSpec
from emabench.spec.grid import product
from emabench.spec.paths import SHORT_NAMES, full_path
from emabench.spec.scope import PROJECTOR, every_scope
from emabench.spec.settings import experiment_at
from emabench.spec.study import EVERY, GIVEN_LATER, Study
from emabench.table import counted, show_value

BlocksOf = Callable[[ExperimentSpec], Sequence[str]]
"""Names the blocks of the encoder that a spec describes, first to last, the projector included."""

_SCOPE, _SEED = SHORT_NAMES["ema_scope"], SHORT_NAMES["seed"]
_USUAL_SIZE = 224
"""Pixels of images whose size only the files tell; the names of blocks do not depend on it."""


def study_points(
    study: Study, budget: str, *, changes: Axes = (), blocks_of: BlocksOf | None = None
) -> list[GridPoint]:
    """Return the runs of a study, each once, with the command that runs exactly this one.

    The seed runs slowest: a study that is stopped early has whole pairs to compare.

    Args:
        study: the study.
        budget: name of one of its budgets.
        changes: fields that the user sets; they win over the arms and the budget.
        blocks_of: asked where an arm takes every scope; None is ``block_names``.

    Raises:
        UnknownNameError: the study has no such budget.
        UsageError: a change is to what the study compares.
        SpecError: a field or a value cannot be, or the runs are not as many as the study says.
    """
    given = dict(changes)
    if study.spec.factor in given and study.spec.factor not in _later(study):
        raise UsageError(
            f"the study {study.name} compares {study.spec.by}, which cannot be set",
            hint=f"copy {study.file}, change its arms and run the copy",
        )
    chosen = study.budget(budget)
    seeds = given.pop(_SEED, chosen.seeds)
    found: dict[str, GridPoint] = {}
    try:
        grids = arm_grids(study, budget, changes=tuple(given.items()), blocks_of=blocks_of)
        for seed in seeds:
            for grid in grids:
                for point in product([*grid.items(), (_SEED, [seed])]):
                    spec = experiment_at(point, preset=chosen.preset)
                    command = command_line(point, preset=chosen.preset, file=None)
                    found.setdefault(spec.model_dump_json(), GridPoint(spec, command))
    except SpecError as error:
        message = error.message.removeprefix("spec: ")
        raise SpecError(f"study {study.name}, {budget}: {message}", hint=error.hint) from None
    if chosen.runs is not None and not changes and len(found) != chosen.runs:
        raise SpecError(
            f"study {study.name}, {budget}: it says {counted(chosen.runs, 'run')}, "
            f"but its arms come to {len(found)}",
            hint="correct runs, or leave it out",
        )
    return list(found.values())


def arm_grids(
    study: Study, budget: str, *, changes: Axes = (), blocks_of: BlocksOf | None = None
) -> list[dict[str, list[Any]]]:
    """Return what the arms set above the preset of a budget: values by path, without the seed.

    An arm that takes every scope is a grid for each encoder that it trains.
    """
    chosen = study.budget(budget)
    later = _later(study)
    grids: list[dict[str, list[Any]]] = []
    for arm, own in zip(study.spec.arms, chosen.arms or [{}] * len(study.spec.arms), strict=True):
        grid = {**chosen.set, **arm, **own}
        for path, values in changes:
            if path not in later or grid.get(path) == [GIVEN_LATER]:
                grid[path] = values
        if EVERY in grid.get(_SCOPE, []):
            grids.extend(_with_every_scope(grid, chosen.preset, blocks_of or block_names))
        else:
            grids.append(grid)
    return grids


def check_given(study: Study, changes: Axes) -> None:
    """Check that what only the user can give was given.

    Raises:
        UsageError: it was not; the hint says what it is.
    """
    known = dict(changes)
    for path, what in _later(study).items():
        if path not in known:
            field = path.removeprefix("pretrain.")
            raise UsageError(f"the study {study.name} needs --set {field}=…", hint=what)


def _later(study: Study) -> dict[str, str]:
    return {full_path(name): what for name, what in study.spec.given.items()}


def run_count(study: Study, budget: str) -> int:
    """Return the number of runs: what the study says, or else what its arms come to."""
    return study.budget(budget).runs or len(study_points(study, budget))


def equal_commands(study: Study, budget: str) -> list[str]:
    """Return the commands that together queue what the study queues: one for each grid."""
    chosen = study.budget(budget)
    head = ["emabench", "queue", "--study", study.name, "--preset", chosen.preset]
    commands = []
    for grid in arm_grids(study, budget):
        fields = {**grid, _SEED: chosen.seeds}
        words = [word for path, values in fields.items() for word in flag_words(path, values)]
        commands.append(shlex.join(head + words))
    return commands


def next_commands(study: Study, *, db: str | None, smoke: bool) -> list[str]:
    """Return what to do once the runs are queued: work them off, compare them, see the blocks.

    Args:
        study: the study.
        db: path or URL of the store; None is the one that need not be said.
        smoke: whether some of the runs are smoke runs.
    """
    place = [] if db is None else ["--db", db]
    of_it = ["--study", study.name, *(["--smoke"] if smoke else []), *place]
    compare = ["compare", "--metric", ",".join(study.spec.metrics)]
    if study.spec.factor != _SCOPE:
        compare += ["--by", study.spec.by]
    if study.spec.along:
        compare += ["--along", ",".join(study.spec.along)]
    compare += ["--baseline", show_value(study.spec.baseline)]
    for name, width in study.spec.margin.items():
        is_share = parse_metric(name).kind == "ratio"
        compare += ["--margin", f"{name}={100 * width:g}%" if is_share else f"{name}={width:g}"]
    plugins = [word for code in named_plugins() for word in ("--plugin", code.place)]
    commands = [["work", "--idle-exit", *plugins, *place], compare + of_it]
    if study.spec.quantity is not None:
        commands.append(["stability", "--quantity", study.spec.quantity, *of_it])
    if study.spec.correlated is not None:
        first, second = study.spec.correlated
        commands.append(["correlate", first, second, *of_it])
    return [shlex.join(["emabench", *words]) for words in commands]


def block_names(spec: ExperimentSpec) -> tuple[str, ...]:
    """Return the blocks of the encoder, first to last, the projector included.

    Raises:
        UsageError: there is no such backbone, or it cannot be built.
    """
    from emabench.data.sources.catalogue import built_in_datasets

    data = spec.pretrain.data
    own = (info.image_size for info in built_in_datasets() if info.name == data.dataset)
    size = data.image_size or next(own, None) or _USUAL_SIZE
    return _blocks(spec.pretrain.backbone.model_dump_json(), size)


@cache
def _blocks(backbone: str, image_size: int) -> tuple[str, ...]:
    from emabench.networks.backbone import build_backbone

    spec = BackboneSpec.model_validate_json(backbone)
    return (*build_backbone(spec, image_size).block_names, PROJECTOR)


def _with_every_scope(
    grid: Mapping[str, list[Any]], preset: str, blocks_of: BlocksOf
) -> Iterator[dict[str, list[Any]]]:
    for point in product([*grid.items(), (_SCOPE, ["none"])]):
        every = every_scope(blocks_of(experiment_at(point, preset=preset)))
        scopes = [s for named in grid[_SCOPE] for s in (every if named == EVERY else [named])]
        single = {path: [value] for path, value in point.items()}
        yield {**single, _SCOPE: list(dict.fromkeys(scopes))}
