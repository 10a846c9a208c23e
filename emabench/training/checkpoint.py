"""Checkpoints: written atomically, read without running code, refused when truncated."""

from __future__ import annotations

import os
import pickle
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from emabench.errors import CheckpointError

_NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Replace the checkpoint of an attempt: temporary file, fsync, rename.

    Args:
        folder: folder of the attempt; created if it is not there.
        state: tensors and plain values.

    Raises:
        CheckpointError: the file cannot be written; the previous one is untouched.
    """
    path = folder / _NAME
    temporary: str | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
            temporary = file.name
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except (OSError, RuntimeError) as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {error}",
            hint="free some space, or use --artifacts",
        ) from error
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: the file is absent, truncated, or no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint")
    return state


def newest_checkpoint(folders: Iterable[Path]) -> dict[str, Any] | None:
    """Return the first checkpoint that can be read, newest attempt first, or None."""
    for folder in folders:
        path = folder / _NAME
        if not path.exists():
            continue
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            warnings.warn(f"{error.message}; trying the one before", stacklevel=2)
    return None


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of an attempt, if there is one."""
    (folder / _NAME).unlink(missing_ok=True)
