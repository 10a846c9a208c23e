"""Checkpoints: written atomically, read without running code, refused when truncated."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from emabench.artifacts.layout import CHECKPOINT, PREVIOUS_CHECKPOINT
from emabench.errors import CheckpointError
from emabench.spec import PretrainSpec

_FORMAT = 2
"""Grows when the state of a training gets another form."""


class CheckpointClock:
    """Tells when the next checkpoint is due, by epochs, steps and minutes of a spec.

    Args:
        spec: its three ``checkpoint_…`` fields.
        now: a monotonic clock in seconds.
    """

    def __init__(self, spec: PretrainSpec, now: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._steps = spec.checkpoint_epochs, spec.checkpoint_steps
        self._seconds = None if spec.checkpoint_minutes is None else 60 * spec.checkpoint_minutes
        self._now = now
        self._saved_at = now()

    def steps_left(self, step: int) -> int | None:
        """Return how many steps may be made before a checkpoint by steps is due; None: any."""
        return None if self._steps is None else self._steps - step % self._steps

    def is_due(self, step: int, epochs: int | None = None) -> bool:
        """Whether to save now.

        Args:
            step: steps that were made.
            epochs: epochs that were made, at the end of one; None inside an epoch.
        """
        return (
            (self._steps is not None and step % self._steps == 0)
            or (self._seconds is not None and self._now() - self._saved_at >= self._seconds)
            or (epochs is not None and self._epochs is not None and epochs % self._epochs == 0)
        )

    def saved(self) -> None:
        """Note that a checkpoint was saved just now."""
        self._saved_at = self._now()


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of ``path`` when the block ends well.

    It is on the disk before it does, so that a crash leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write the checkpoint of an attempt; the one before stays beside it.

    Args:
        folder: folder of the attempt; created if it is not there.
        state: tensors and plain values.

    Raises:
        CheckpointError: the file cannot be written; those before are untouched.
    """
    path = folder / CHECKPOINT
    try:
        with replaced(path) as file:
            torch.save({"format": _FORMAT, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())  # a full disk shows here, before the old one is moved
            if path.exists():
                path.replace(folder / PREVIOUS_CHECKPOINT)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {error}",
            hint="free some space, or use --artifacts",
        ) from error
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state in a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: the file is absent, truncated, no checkpoint, or of another format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this version of emabench")
    state: dict[str, Any] = content["state"]
    return state


def newest_checkpoint(
    folders: Iterable[Path], on_damage: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return the newest state that can be read, or None.

    Args:
        folders: of the attempts, newest first.
        on_damage: told of each checkpoint that cannot be read; the one before is tried then.
    """
    for folder in folders:
        for path in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT):
            if not path.exists():
                continue
            try:
                return load_checkpoint(path)
            except CheckpointError as error:
                on_damage(f"{error.message}; trying the one before")
    return None
