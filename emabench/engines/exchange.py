"""The place through which a driver and its nodes pass files: a shared folder, or a URL of fsspec.

In a shared folder a job works in place. A URL is not a folder: the node works in one of its own,
fetches what the job goes on from, and sends what is new every few seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec

from emabench.artifacts.layout import (
    CHECKPOINTS,
    JOURNAL,
    LOG,
    WEIGHTS,
    attempt_folder,
    attempt_folders,
    attempt_number,
)
from emabench.errors import EngineError

_STOP = "stop"
"""Name of the file that asks an attempt to stop; it says how."""
SOFTLY, NOW = "softly", "now"


class Exchange:
    """A place that driver and nodes both reach.

    Args:
        place: path of a shared folder, or a URL such as ``s3://bucket/sweep``.

    Raises:
        EngineError: nothing installed knows such a URL.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.is_shared = "://" not in place
        try:
            self._files, self._root = fsspec.url_to_fs(place)  # type: ignore[no-untyped-call]
        except (ImportError, ValueError) as error:
            raise EngineError(
                f"cannot use {place} for artifacts: {error}",
                hint="install the package that fsspec names, or give a shared folder",
            ) from None

    def read(self, job_id: str, attempt: int, name: str, start: int = 0) -> bytes:
        """Return what a file of an attempt holds from a byte on; nothing if it is not there."""
        path = self._path(job_id, attempt, name)
        try:
            self._files.invalidate_cache()
            if self._files.size(path) <= start:
                return b""
            with self._files.open(path, "rb") as file:
                file.seek(start)
                return bytes(file.read())
        except FileNotFoundError:
            return b""

    def ask_to_stop(self, job_id: str, attempt: int, how: str) -> None:
        """Leave word for who works on an attempt: ``SOFTLY`` or ``NOW``."""
        self._write(self._path(job_id, attempt, _STOP), how.encode())

    def asked_to_stop(self, job_id: str, attempt: int) -> str:
        """Return the word that was left for who works on an attempt; empty if none was."""
        return self.read(job_id, attempt, _STOP).decode()

    def journals(self) -> list[tuple[str, int]]:
        """Return the attempts, as job and number, that have a journal."""
        found = self._files.glob(f"{self._root}/*/attempt-*/{JOURNAL}")
        parts = [Path(path).parts[-3:-1] for path in sorted(map(str, found))]
        return [(job_id, attempt_number(Path(folder))) for job_id, folder in parts]

    @contextlib.contextmanager
    def workspace(
        self, job_id: str, attempt: int, needs: Mapping[str, Iterable[str]]
    ) -> Iterator[Path]:
        """Give a node the folder of artefacts to work in.

        Args:
            job_id: the job.
            attempt: its attempt, which the driver has announced there.
            needs: names of the files that it needs of other jobs, by their ids.

        Raises:
            EngineError: what the driver left is not to be seen from here.
        """
        if not self.read(job_id, attempt, LOG):
            raise EngineError(
                f"on this machine, the artifacts folder {self.place} is not the driver's",
                hint="--artifacts takes a folder that all machines share, or a URL such as s3://…",
            )
        if self.is_shared:
            yield Path(self._root)
            return
        with tempfile.TemporaryDirectory(prefix="emabench-") as folder:
            root = Path(folder)
            self.fetch(root, job_id, (*CHECKPOINTS, LOG))
            for needed, names in needs.items():
                self.fetch(root, needed, names)
            yield root

    def fetch(self, root: Path, job_id: str, names: Iterable[str]) -> None:
        """Copy files of a job from here into a folder of artefacts; what is not here is left."""
        self._files.invalidate_cache()
        for name in names:
            for path in map(str, self._files.glob(f"{self._root}/{job_id}/attempt-*/{name}")):
                attempt = attempt_number(Path(path).parent)
                target = attempt_folder(root, job_id, attempt) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f"{name}.tmp")
                self._files.get_file(path, str(partial))
                partial.replace(target)

    def offer(self, root: Path, job_id: str, names: Iterable[str]) -> None:
        """Copy files of a job here from a folder, where they are not yet."""
        for folder, name in itertools.product(attempt_folders(root, job_id), names):
            source, target = folder / name, self._path(job_id, attempt_number(folder), name)
            if source.exists() and not self._files.exists(target):
                self._send(source, target)

    def announce(self, root: Path, job_id: str, attempt: int) -> None:
        """Copy the log here that the driver began: a node that sees it sees the right place."""
        self._send(attempt_folder(root, job_id, attempt) / LOG, self._path(job_id, attempt, LOG))

    def forget(self, job_id: str, names: Iterable[str]) -> None:
        """Delete files of all attempts at a job."""
        for name in names:
            for path in self._files.glob(f"{self._root}/{job_id}/attempt-*/{name}"):
                self._files.rm_file(path)

    def sender(self, root: Path, job_id: str, attempt: int) -> Sender:
        """Return what keeps the files of an attempt here up to date; for a URL."""
        return Sender(self, attempt_folder(root, job_id, attempt), job_id, attempt)

    def _path(self, job_id: str, attempt: int, name: str) -> str:
        return f"{self._root}/{job_id}/attempt-{attempt}/{name}"

    def _send(self, source: Path, target: str) -> None:
        self._write(target, source.read_bytes())

    def _write(self, target: str, content: bytes) -> None:
        """Put a file in place as a whole: nobody reads half of one."""
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(f"{target}.tmp", content)
        self._files.mv(f"{target}.tmp", target)


class Sender:
    """Sends the files of an attempt that changed since it sent them last."""

    def __init__(self, exchange: Exchange, folder: Path, job_id: str, attempt: int) -> None:
        self._exchange, self._folder = exchange, folder
        self._job_id, self._attempt = job_id, attempt
        self._sent: dict[str, Any] = {}

    def send(self) -> None:
        """Send what is new; the journal last, since it tells of the others."""
        for name in (*CHECKPOINTS, *WEIGHTS, LOG, JOURNAL):
            path = self._folder / name
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                state = (found.st_ino, found.st_size, found.st_mtime_ns)
                if self._sent.get(name) != state:
                    target = self._exchange._path(self._job_id, self._attempt, name)
                    self._exchange._send(path, target)
                    self._sent[name] = state
