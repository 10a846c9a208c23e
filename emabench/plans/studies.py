"""A study on the command line: its runs as points of a grid, and the commands it is equal to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from emabench.cli.options.shared import DEFAULT_DB
from emabench.cli.options.spec_flags import GridPoint, command_line, flag_words

if TYPE_CHECKING:
    from emabench.spec import ExperimentSpec
    from emabench.spec.study import Study

_USUAL_SIZE = 224
"""Pixels of images whose size only the files tell; the names of blocks do not depend on it."""


def study_points(
    study: Study, budget: str, changes: Sequence[tuple[str, list[Any]]] = ()
) -> list[GridPoint]:
    """Return the runs of a study, each with the command that runs exactly this one.

    Raises:
        UsageError: see ``spec.study_runs.study_runs``.
    """
    from emabench.plans.study_grids import study_runs

    preset = study.budget(budget).preset
    runs = study_runs(study, budget, changes=changes, blocks_of=block_names)
    return [GridPoint(run.spec, command_line(run.point, preset=preset, file=None)) for run in runs]


def run_count(study: Study, budget: str) -> int:
    """Return the number of runs: what the study says, or else what its arms come to."""
    return study.budget(budget).runs or len(study_points(study, budget))


def equal_commands(study: Study, budget: str) -> list[str]:
    """Return the commands that together queue what the study queues: one for each grid."""
    from emabench.plans.study_grids import arm_grids
    from emabench.spec.paths import SHORT_NAMES

    chosen = study.budget(budget)
    head = ["emabench", "queue", "--study", study.name, "--preset", chosen.preset]
    commands = []
    for grid in arm_grids(study, budget, blocks_of=block_names):
        axes = {**grid, SHORT_NAMES["seed"]: chosen.seeds}
        words = [word for path, values in axes.items() for word in flag_words(path, values)]
        commands.append(shlex.join(head + words))
    return commands


def next_commands(study: Study, *, db: str, smoke: bool) -> list[str]:
    """Return what to do once the runs are queued: work them off, compare them, see the blocks."""
    from emabench.analysis.metrics import parse_metric
    from emabench.spec.paths import SHORT_NAMES
    from emabench.table import show_value

    place = [] if db == DEFAULT_DB else ["--db", db]
    of_it = ["--study", study.name, *(["--smoke"] if smoke else []), *place]
    compare = ["compare", "--metric", ",".join(study.spec.metrics)]
    if study.spec.factor != SHORT_NAMES["ema_scope"]:
        compare += ["--by", study.spec.by]
    compare += ["--baseline", show_value(study.spec.baseline)]
    for name, width in study.spec.margin.items():
        is_share = parse_metric(name).kind == "ratio"
        compare += ["--margin", f"{name}={100 * width:g}%" if is_share else f"{name}={width:g}"]
    commands = [["work", "--idle-exit", *place], compare + of_it]
    if study.spec.quantity is not None:
        commands.append(["stability", "--quantity", study.spec.quantity, *of_it])
    return [shlex.join(["emabench", *words]) for words in commands]


def block_names(spec: ExperimentSpec) -> tuple[str, ...]:
    """Return the blocks of the encoder, first to last, the projector included.

    Raises:
        UsageError: there is no such backbone, or it cannot be built.
    """
    from emabench.data.sources.catalogue import list_datasets

    data = spec.pretrain.data
    own = (info.image_size for info in list_datasets() if info.name == data.dataset)
    size = data.image_size or next(own, None) or _USUAL_SIZE
    return _blocks(spec.pretrain.backbone.model_dump_json(), size)


@cache
def _blocks(backbone: str, image_size: int) -> tuple[str, ...]:
    from emabench.networks.backbone import build_backbone
    from emabench.spec import BackboneSpec
    from emabench.spec.scope import PROJECTOR

    spec = BackboneSpec.model_validate_json(backbone)
    return (*build_backbone(spec, image_size).block_names, PROJECTOR)
