"""From the arguments and flags of ``eval`` to plans, one for each weights and point of the grid."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def resolved_plans(
    weights: Sequence[str], flags: Mapping[str, Any], *, db: str, artifacts: Path
) -> list[PlannedRun]:
    """Return the resolved evaluations, with progress on stderr.

    Args:
        weights: ids of runs, unique beginnings, ``@last``, or files; a file wins.
        flags: by the names of ``PATHS``, and ``set_``; None is not given.
        db: path or URL of the store; needed for runs only.
        artifacts: the folder in which the weights of runs lie.

    Raises:
        NotFoundError: there is no such run and no such file, or the run has no weights.
        UsageError: a field or value cannot be, or several ids begin so.
        WeightsError: a file is no weights, or not of this backbone.
    """
    from emabench.cli.app.console import err
    from emabench.cli.options.spec_flags import flag_words
    from emabench.cli.show.progress import listener
    from emabench.jobs.reevaluation import resolve_evaluation

    points = _points(flags)
    found = [_found(text, db) for text in weights]

    def command(source: RunRecord | Path, point: Mapping[str, Any]) -> str:
        name = str(source.resolve()) if isinstance(source, Path) else source.id
        words = [word for path in point for word in flag_words(path, [point[path]])]
        return shlex.join(["emabench", "eval", name, *words])

    with listener(err()) as on_event:
        return [
            resolve_evaluation(
                source,
                point,
                artifacts=artifacts,
                command=command(source, point),
                on_event=on_event,
            )
            for source in found
            for point in points
        ]


def _points(flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of each point of the grid that the flags span; ``--set`` wins."""
    from emabench.spec.grid import expand_values, product
    from emabench.spec.paths import is_text
    from emabench.spec.settings import parse_assignment

    axes: list[tuple[str, list[Any]]] = []
    for name, path in PATHS.items():
        if (text := flags[name]) is not None:
            what = f"--{name.replace('_', '-')}"
            literal = name == "data_dir"  # a folder may be called "a,b"
            values = [text] if literal else expand_values(text, what=what, as_text=is_text(path))
            axes.append((path, values))
    axes += [parse_assignment(text) for text in flags["set_"] or ()]
    return list(product(axes))


def _found(text: str, db: str) -> RunRecord | Path:
    """Return the file or the run that an argument names.

    Raises:
        NotFoundError: there is neither.
        UsageError: several ids begin so.
    """
    from emabench.errors import NotFoundError
    from emabench.store import RunStore

    file = Path(text)
    if file.is_file():
        return file
    try:
        with RunStore.open(db, mode="read") as store:
            return store.run(text)
    except NotFoundError as error:
        if file.suffix != ".safetensors" and len(file.parts) == 1:
            raise
        raise NotFoundError(
            f"there is no file {text}", hint=f"check its path; as a run: {error.message}"
        ) from None
