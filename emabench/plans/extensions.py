"""From a finished run and a number of epochs to the run that goes on from its checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emabench.artifacts.files import file_digest
from emabench.artifacts.layout import attempt_folders
from emabench.errors import DataError, NotFoundError, SpecError, UsageError
from emabench.events import Notice
from emabench.plans.grids import check_labels
from emabench.records import JobKind, JobState
from emabench.spec import ExperimentSpec
from emabench.spec.pretrain import ExtendsSpec, PretrainSpec
from emabench.spec.revisions import PRETRAINING, names_in

if TYPE_CHECKING:
    from emabench.events import Listener
    from emabench.records import PlannedRun, RunRecord
    from emabench.training.given_weights import KeptWeights


def extension_plan(
    run: RunRecord,
    epochs: int,
    *,
    artifacts: Path,
    name: str | None = None,
    study: str | None = None,
    kept: KeptWeights | None = None,
    on_event: Listener = lambda event: None,
) -> PlannedRun:
    """Return the resolved run that trains a finished one on, to a number of epochs in all.

    It has the spec of the run, and schedules of all its epochs, which it enters at the step of
    the checkpoint.

    Args:
        run: done, with a checkpoint that was kept.
        epochs: of the schedules; more than were made.
        artifacts: the folder in which the checkpoints of runs lie.
        name: label of the new run.
        study: that it belongs to.
        kept: where the runs are looked up whose weights the run was given.
        on_event: listens.

    Raises:
        UsageError: the run cannot be extended, or not by so much.
        NotFoundError: it kept no checkpoint.
        CheckpointError: that is damaged, or not its own.
        DataError: the images, or the weights that it was given, are others now.
    """
    from emabench import experiment
    from emabench.data.load_with_progress import loading_once
    from emabench.resolution.identity import training_owner
    from emabench.training.checkpoint import load_checkpoint
    from emabench.training.extension import kept_checkpoint

    check_labels(name, study)
    _check(run)
    before = ExperimentSpec.parse(run.spec, what=run.title)
    file = kept_checkpoint(attempt_folders(artifacts, run.id))
    if file is None:
        raise NotFoundError(
            f"{run.title} kept no checkpoint in {artifacts}",
            hint="only a run with --keep checkpoints keeps the last one: "
            f"{run.command or 'emabench run …'} --force --keep checkpoints",
        )
    training = training_owner(before.pretrain)
    revisions = names_in(run.identity, PRETRAINING)
    state = load_checkpoint(
        file,
        owner=training,
        revisions=revisions,
        on_note=lambda text: on_event(Notice(text)),
    )
    earlier = (*before.pretrain.extends.earlier_epochs, before.pretrain.epochs)
    extends = ExtendsSpec(
        run=run.id,
        fingerprint=run.fingerprint,
        training=training,
        checkpoint=file_digest(file),
        earlier_epochs=earlier,
        step=state["step"],
    )
    if epochs <= before.pretrain.epochs:
        raise UsageError(
            f"{run.title} was trained with epochs={before.pretrain.epochs}: {epochs} is not more",
            hint="--epochs says how many there are in all",
        )
    changes = {"epochs": epochs, "max_steps": None, "extends": extends}
    spec = before.model_copy(
        update={"pretrain": before.pretrain.model_copy(update=changes), "profile": False}
    )
    command = shlex.join(["emabench", "run", "--extend", run.id, "--epochs", str(epochs)])
    with loading_once():
        plan = experiment.resolve(spec, command=command, name=name, kept=kept, on_event=on_event)
        _check_the_same(run, plan.identity)
        today = experiment.resolve(before, command=command, kept=kept)
    if names_in(today.identity, PRETRAINING) != revisions:
        raise UsageError(
            f"{run.title} was trained before a fix that concerns it",
            hint=f"train it again: {run.command or 'emabench run'} --force --keep checkpoints",
        )
    note = _schedules_note(before.pretrain, extends, epochs)
    on_event(Notice(note))
    return replace(plan, study=study, warnings=(*plan.warnings, note))


def _check(run: RunRecord) -> None:
    """Refuse what is no finished run.

    Raises:
        UsageError: it is none.
    """
    if run.unreadable is not None:
        raise SpecError(
            f"{run.title}: its spec is damaged: {run.unreadable}", hint="extend another run"
        )
    if run.kind is not JobKind.PRETRAIN:
        raise UsageError(f"{run.title} is no run: it trained nothing", hint="extend a run")
    if run.state is not JobState.DONE:
        raise UsageError(
            f"{run.title} is {run.state}: its own epochs come first",
            hint="extend it when it is done; 'emabench retry' and the same command go on with it",
        )


def _check_the_same(run: RunRecord, identity: Mapping[str, object]) -> None:
    """Check that the rest is trained on what the beginning was.

    Raises:
        DataError: the images or the weights that it was given are others.
    """
    for key, what in {"data": "images", "init": "weights", "teacher": "weights"}.items():
        if identity.get(key) != run.identity.get(key):
            raise DataError(
                f"{run.title} was trained with other {what} than are there now",
                hint=f"put its {what} back; 'emabench show' has the digest of their content",
            )


def _schedules_note(before: PretrainSpec, extends: ExtendsSpec, epochs: int) -> str:
    """Say what the schedules do, in words that are the same for all seeds."""
    return (
        f"extends a run after step {extends.step}, where the schedules of epochs={before.epochs} "
        "ended; learning rate, weight decay and EMA decay jump to what they are at that step of "
        f"epochs={epochs}, and go on from there"
    )
