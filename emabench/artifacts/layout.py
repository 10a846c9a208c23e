"""Where the files of jobs lie: a folder per attempt, under one folder beside the store.

::

    results-artifacts/
      <job id>/
        attempt-1/   log.txt  checkpoint.pt  checkpoint-previous.pt
        attempt-2/   log.txt  online.safetensors  target.safetensors  average.safetensors
                     projector.safetensors

Attempts on other machines have a journal.jsonl too (see ``queue/journal.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from emabench.user_paths import home_path

LOG = "log.txt"
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint-previous.pt"
JOURNAL = "journal.jsonl"
CHECKPOINTS = (CHECKPOINT, PREVIOUS_CHECKPOINT)
PROJECTOR_FILE = "projector.safetensors"
"""The online network's; it makes a run a teacher."""
WEIGHTS = ("online.safetensors", "target.safetensors", "average.safetensors", PROJECTOR_FILE)
_ATTEMPT = re.compile(r"attempt-([0-9]+)")


class Keep(StrEnum):
    """What stays of a job that is done, beside its logs."""

    WEIGHTS = "weights"
    CHECKPOINTS = "checkpoints"
    """The weights and the last checkpoint."""
    NOTHING = "nothing"
    """Not even the weights, once they are evaluated."""


def artifacts_folder(db: str, artifacts: Path | None) -> Path:
    """Return the folder of weights, checkpoints and logs that belongs to a store.

    Args:
        db: path or URL of the store.
        artifacts: the folder that the user asked for; None is ``<store>-artifacts`` beside a store
            that is a file, and in the current folder for any other.
    """
    if artifacts is not None:
        return artifacts
    scheme, is_url, rest = db.partition("://")
    if not is_url:
        return _beside(Path(db))
    if scheme.startswith("sqlite") and rest.startswith("/") and rest != "/":
        return _beside(Path(rest[1:].partition("?")[0]))
    name = rest.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Path(f"{name or 'results'}-artifacts")


def is_own_folder(folder: Path, db: str) -> bool:
    """Whether a folder of artefacts is the one beside the store; others may serve several."""
    return folder.resolve() == artifacts_folder(db, None).resolve()


def pruning_command(folder: Path, db: str) -> str:
    """Return the command that deletes files of no job from a folder of artefacts."""
    return "emabench prune" if is_own_folder(folder, db) else "emabench prune --orphans"


def _beside(store: Path) -> Path:
    place = home_path(store)
    return place.parent / f"{place.stem or 'results'}-artifacts"


def attempt_folder(root: Path, job_id: str, attempt: int) -> Path:
    """Return the folder that belongs to one attempt at a job."""
    return root / job_id / f"attempt-{attempt}"


def attempt_folders(root: Path, job_id: str) -> list[Path]:
    """Return the folders of a job's attempts that exist, newest first."""
    folders = (root / job_id).glob("attempt-*")
    return sorted((f for f in folders if is_attempt(f)), key=attempt_number, reverse=True)


def is_attempt(folder: Path) -> bool:
    """Whether a folder is named after an attempt."""
    return _ATTEMPT.fullmatch(folder.name) is not None


def attempt_number(folder: Path) -> int:
    """Return the number of the attempt that a folder belongs to."""
    return int(folder.name.removeprefix("attempt-"))


def has_weights(root: Path, job_id: str) -> bool:
    """Whether an attempt at a pretraining left weights that are still there."""
    folders = attempt_folders(root, job_id)
    return any((folder / name).exists() for folder in folders for name in WEIGHTS)


def lacks_weights(root: Path, job_id: str) -> bool:
    """Whether a pretraining left files here, and no weights: those of others may lie elsewhere."""
    return bool(attempt_folders(root, job_id)) and not has_weights(root, job_id)


def remove_files(root: Path, job_id: str, names: Iterable[str]) -> None:
    """Delete the files of some names, such as ``CHECKPOINTS``, of all attempts at a job."""
    for name in names:
        for folder in attempt_folders(root, job_id):
            (folder / name).unlink(missing_ok=True)
