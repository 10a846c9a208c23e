"""Going on from the checkpoint of another run: finding it, and taking over its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from emabench.artifacts.files import file_digest
from emabench.artifacts.layout import CHECKPOINTS
from emabench.errors import CheckpointError
from emabench.spec.pretrain import ExtendsSpec
from emabench.training.checkpoint import load_checkpoint
from emabench.training.trainer import Trainer


def kept_checkpoint(folders: Iterable[Path]) -> Path | None:
    """Return the newest checkpoint in the folders of a run's attempts, newest first, if any."""
    return next(_checkpoints(folders), None)


def _checkpoints(folders: Iterable[Path]) -> Iterator[Path]:
    places = (folder / name for folder in folders for name in CHECKPOINTS)
    return (place for place in places if place.is_file())


def extended_state(
    extends: ExtendsSpec,
    folders: Sequence[Path],
    *,
    revisions: Sequence[str],
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Read the state that a training goes on from.

    Args:
        extends: the run and its checkpoint.
        folders: of the run's attempts.
        revisions: names of the changes of numbers that concern its steps.
        on_note: called for a checkpoint without a digest of its own.

    Raises:
        CheckpointError: it is gone, is another one now, or of before or after such a change.
    """
    for file in _checkpoints(folders):
        if file_digest(file) == extends.checkpoint:
            return load_checkpoint(
                file, owner=extends.training, revisions=revisions, on_note=on_note
            )
    raise CheckpointError(
        f"the checkpoint of run {extends.run} that this training goes on from is gone",
        hint="put it back, or extend a run that has one",
    )


def take_over(trainer: Trainer, state: dict[str, Any], extends: ExtendsSpec) -> str:
    """Let a training go on where another one ended; what that cost stays with it.

    Returns:
        How it goes on, in a line.
    """
    trainer.load_state_dict(state | {"meter": trainer.meter_state()})
    before = trainer.learning_rate
    after, decay = trainer.schedules_now()
    return (
        f"goes on after step {trainer.step} of run {extends.run}: the learning rate, {before:.4g} "
        f"there, is {after:.4g} now and the decay {decay:.6g}, as at this step of a training of "
        f"{trainer.total_steps}"
    )
