"""From weights and the flags of ``eval`` to plans, one for each weights and point of the grid."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emabench.plans.grids import axes, flag_words
from emabench.spec.grid import product

if TYPE_CHECKING:
    from emabench.events import Listener
    from emabench.records import PlannedRun, RunRecord

PATHS = {
    "network": "evaluation.network",
    "dataset": "evaluation.data.dataset",
    "data_dir": "evaluation.data.data_dir",
    "image_size": "evaluation.data.image_size",
    "train_subset": "evaluation.data.train_subset",
    "test_subset": "evaluation.data.test_subset",
    "backbone": "pretrain.backbone.name",
    "device": "pretrain.device",
}
"""The fields that have a flag, by the flag's name."""


def evaluation_points(flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of each point of the grid that the flags span; ``--set`` wins.

    Args:
        flags: by the names of ``PATHS``, and ``set_``; None is not given.

    Raises:
        UsageError: a field or value cannot be.
    """
    return list(product(axes(flags, PATHS)))


def evaluation_plans(
    sources: Sequence[RunRecord | Path],
    points: Sequence[Mapping[str, Any]],
    *,
    artifacts: Path,
    on_event: Listener,
) -> list[PlannedRun]:
    """Return the resolved evaluations.

    Args:
        sources: runs, or files of weights.
        points: the fields that each of them is evaluated with.
        artifacts: the folder in which the weights of runs lie.
        on_event: listens.

    Raises:
        NotFoundError: a run has no weights.
        UsageError: a field or value cannot be.
        WeightsError: a file is no weights, or not of this backbone.
    """
    from emabench.jobs.reevaluation import resolve_evaluation

    def command(source: RunRecord | Path, point: Mapping[str, Any]) -> str:
        name = str(source.resolve()) if isinstance(source, Path) else source.id
        words = [word for path in point for word in flag_words(path, [point[path]])]
        return shlex.join(["emabench", "eval", name, *words])

    return [
        resolve_evaluation(
            source, point, artifacts=artifacts, command=command(source, point), on_event=on_event
        )
        for source in sources
        for point in points
    ]
