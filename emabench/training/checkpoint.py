"""Checkpoints: written atomically, read without running code, refused when damaged.

A file begins with a mark and the SHA-256 of all that follows, which is what ``torch.save`` writes.
Those of earlier versions are the latter alone.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch

from emabench.artifacts.layout import CHECKPOINT, PREVIOUS_CHECKPOINT
from emabench.errors import CheckpointError
from emabench.spec import PretrainSpec

_FORMAT = 2
"""Grows when the state of a training gets another form."""
_MARK = b"emabench checkpoint\n"
_OLD_MARK = b"PK\x03\x04"
"""How ``torch.save`` begins: a checkpoint without a digest."""


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


class _Hashed:
    """Writes to a file, and hashes what it writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.hash = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Write all of the content."""
        self.hash.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        """Nothing waits here."""


def save_checkpoint(
    folder: Path, state: dict[str, Any], *, owner: str, revisions: Sequence[str] = ()
) -> Path:
    """Write the checkpoint of an attempt; the one before stays beside it.

    Args:
        folder: folder of the attempt; created if it is not there.
        state: tensors and plain values.
        owner: tells the training from others: the ``training_key`` of its spec.
        revisions: names of the changes of numbers that concern it.

    Raises:
        CheckpointError: the file cannot be written; those before are untouched.
    """
    path = folder / CHECKPOINT
    try:
        with replaced(path) as file:
            file.write(_MARK + bytes(hashlib.sha256().digest_size))
            hashed = _Hashed(file)
            known = {"format": _FORMAT, "owner": owner, "revisions": list(revisions)}
            torch.save(known | {"state": state}, cast(IO[bytes], hashed))
            file.seek(len(_MARK))
            file.write(hashed.hash.digest())
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


def load_checkpoint(
    path: Path,
    *,
    owner: str | None = None,
    revisions: Sequence[str] = (),
    on_note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Read the state in a checkpoint; nothing in it is executed.

    Args:
        path: the file.
        owner: of the training that goes on from it; None: it need not be the right one.
        revisions: names of the changes of numbers that concern the latter.
        on_note: called for a file without a digest.

    Raises:
        CheckpointError: the file is absent, damaged, no checkpoint, of another format, of another
            training, or of before or after a change of its numbers.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for who writes
            raise ValueError("not a regular file")
        with path.open("rb") as file:
            has_digest = _check_digest(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
        is_known = isinstance(content, dict) and content.get("format") == _FORMAT
        state: dict[str, Any] | None = content["state"] if is_known else None
    except OSError as error:
        reason = error.strerror or "it is damaged"
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason}") from error
    except Exception as error:  # torch lets many kinds through on damaged files
        raise CheckpointError(f"cannot read the checkpoint {path}: it is damaged") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint of this version of emabench")
    if owner is not None and content.get("owner", owner) != owner:
        raise CheckpointError(f"cannot read the checkpoint {path}: it belongs to another training")
    if owner is not None and content.get("revisions", []) != list(revisions):
        raise CheckpointError(
            f"cannot resume from the checkpoint {path}: it was written before or after a change of "
            "what the training computes"
        )
    if not has_digest:
        on_note(
            f"{path} was written by an earlier version, without a digest: damage may go unnoticed"
        )
    return state


def _check_digest(file: IO[bytes]) -> bool:
    """Stop where the content begins; return whether the file has a digest.

    Raises:
        ValueError: it is no checkpoint, or not what was written.
    """
    if file.read(len(_OLD_MARK)) == _OLD_MARK:
        file.seek(0)
        return False
    file.seek(0)
    mark, digest = file.read(len(_MARK)), file.read(hashlib.sha256().digest_size)
    start = file.tell()
    if mark != _MARK or hashlib.file_digest(file, "sha256").digest() != digest:  # type: ignore[arg-type]
        raise ValueError("not what was written")
    file.seek(start)
    return True


def saved_states(
    folders: Iterable[Path],
    *,
    owner: str,
    revisions: Sequence[str] = (),
    on_note: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Yield the states that can be read, newest first.

    Args:
        folders: of the attempts, newest first.
        owner: of the training that goes on.
        revisions: names of the changes of numbers that concern it.
        on_note: called for each checkpoint that cannot be read, and for one without a digest.
    """
    for folder in folders:
        for path in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT):
            if not path.exists():
                continue
            try:
                state = load_checkpoint(path, owner=owner, revisions=revisions, on_note=on_note)
            except CheckpointError as error:
                on_note(f"{error.message}; trying the one before")
            else:
                yield state
