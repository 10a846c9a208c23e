"""The files of jobs in the folder of artefacts: what lies there, and how it is deleted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from emabench.artifacts.layout import CHECKPOINTS, LOG, WEIGHTS, attempt_number, is_attempt
from emabench.errors import EmabenchError

_JOB = re.compile(r"[0-9a-f]{12}")
_TEMPORARY = ".tmp"
"""How the name of a file ends that is not written to its end yet."""


class FileKind(StrEnum):
    """What a file is for."""

    CHECKPOINTS = "checkpoints"
    WEIGHTS = "weights"
    LOGS = "logs"
    OTHER = "other"


_KINDS = {
    **dict.fromkeys(CHECKPOINTS, FileKind.CHECKPOINTS),
    **dict.fromkeys(WEIGHTS, FileKind.WEIGHTS),
    LOG: FileKind.LOGS,
}


@dataclass(frozen=True)
class JobFile:
    """A file in the folder of artefacts.

    Attributes:
        path: where it lies.
        size: in bytes.
        job_id: the job that its folder names; None is a file that no job has written.
        attempt: the attempt that its folder names, if it lies in one.
    """

    path: Path
    size: int
    job_id: str | None = None
    attempt: int | None = None

    @property
    def kind(self) -> FileKind:
        """What the file is for, by its name."""
        if self.attempt is None:
            return FileKind.OTHER
        return _KINDS.get(self.path.name, FileKind.OTHER)

    @property
    def is_temporary(self) -> bool:
        """Whether the file was to take the place of another one once it is complete."""
        return self.attempt is not None and self.path.name.endswith(_TEMPORARY)


@dataclass(frozen=True)
class Deletion:
    """What became of files that were to be deleted.

    Attributes:
        files: those that are gone.
        failures: one line for each that is not.
    """

    files: tuple[JobFile, ...]
    failures: tuple[str, ...]


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def scan_files(root: Path, job_ids: Collection[str] | None = None) -> list[JobFile]:
    """Return the files in the folder of artefacts, in the order of their paths.

    Links are files of their own: what they lead to is neither counted nor ever deleted.

    Args:
        root: the folder; one that is not there holds nothing.
        job_ids: only the files of these jobs; None is everything.

    Raises:
        EmabenchError: a folder cannot be read.
    """
    tops = [root] if job_ids is None else [root / job_id for job_id in sorted(job_ids)]
    own = (top for top in tops if top == root or not top.is_symlink())
    return [file for top in own for file in _files_below(top, root)]


def delete_files(root: Path, files: Sequence[JobFile]) -> Deletion:
    """Delete files, and the folders of jobs and attempts that nothing is left in."""
    gone, failures = [], []
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
            gone.append(file)
        except OSError as error:
            failures.append(f"cannot delete {file.path}: {error.strerror}")
    _remove_empty_folders(root, {file.path.parent for file in gone})
    return Deletion(tuple(gone), tuple(failures))


def _files_below(top: Path, root: Path) -> Iterator[JobFile]:
    for folder, names, files in os.walk(top, onerror=_refuse_unreadable):
        names.sort()
        linked = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *linked]):
            path = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):  # written to its end, or deleted, just now
                job_id, attempt = _owner(path.relative_to(root))
                yield JobFile(path, path.lstat().st_size, job_id, attempt)


def _owner(file: Path) -> tuple[str | None, int | None]:
    """Return the job and the attempt that the folders above a file name."""
    if len(file.parts) < 2 or not _JOB.fullmatch(file.parts[0]):
        return None, None
    of_attempt = len(file.parts) == 3 and is_attempt(file.parent)
    return file.parts[0], attempt_number(file.parent) if of_attempt else None


def _refuse_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise EmabenchError(
            f"cannot read the folder {error.filename}: {error.strerror}",
            hint="--artifacts chooses another folder",
        ) from None


def _remove_empty_folders(root: Path, folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # something is left in it
            while folder != root and root in folder.parents:
                folder.rmdir()
                folder = folder.parent
