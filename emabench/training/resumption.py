"""Where a training starts: at the newest checkpoint that fits it, or at the run that it extends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from emabench.events import Listener, Notice
from emabench.spec import PretrainSpec
from emabench.training.checkpoint import saved_states
from emabench.training.extension import extended_state, take_over
from emabench.training.trainer import Trainer


def at_its_start(
    trainer: Trainer,
    spec: PretrainSpec,
    *,
    again: Callable[[], Trainer],
    folders: Sequence[Path],
    extended: Sequence[Path],
    owner: str,
    revisions: Sequence[str],
    revisions_of_extended: Sequence[str],
    on_event: Listener,
) -> tuple[Trainer, bool]:
    """Return the trainer with the state that it starts from.

    Args:
        trainer: fresh.
        spec: the resolved spec.
        again: makes another fresh trainer, for when a state was loaded in part.
        folders: of the attempts at the run, newest first.
        extended: those of the attempts at the run that it extends.
        owner: of its checkpoints.
        revisions: names of the changes of numbers that concern it.
        revisions_of_extended: those that concern the steps of the run that it extends.
        on_event: listens.

    Returns:
        The trainer, and whether it goes on from a checkpoint of its own.

    Raises:
        CheckpointError: the one that it is to go on from is gone, or another one.
    """

    def note(text: str) -> None:
        on_event(Notice(text))

    for state in saved_states(folders, owner=owner, revisions=revisions, on_note=note):
        try:
            trainer.load_state_dict(state)
        except Exception as error:  # of an earlier version: without a digest, or otherwise
            text = f"the checkpoint does not fit ({error}); trying the one before"
            note(" ".join(text.split()))
            trainer = again()
            continue
        note(f"resumed after step {trainer.step} of {trainer.total_steps}")
        return trainer, True
    if spec.extends.run is not None:
        state = extended_state(
            spec.extends, extended, revisions=revisions_of_extended, on_note=note
        )
        note(take_over(trainer, state, spec.extends))
    return trainer, False
