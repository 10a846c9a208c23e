"""What a tracker is to a mirror: a place on this machine that runs are written to."""

from __future__ import annotations

import hashlib
import importlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from filelock import FileLock, Timeout

from emabench.errors import EmabenchError
from emabench.tracking._mirrored_run import MirroredRun


class Tracker(ABC):
    """Writes runs to a place that one mirror has for itself; use it in a ``with`` statement.

    Args:
        place: the folder or file.

    Attributes:
        own_place: where it writes unless told otherwise.
        viewer: the command that shows the place.

    Raises:
        EmabenchError: its package is not installed, somebody else mirrors to the place, or it
            cannot be written.
    """

    own_place: ClassVar[str]
    viewer: ClassVar[str]

    def __init__(self, place: Path) -> None:
        self.place = place
        try:
            self.open()
        except OSError as error:
            raise self.failure(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def name(cls) -> str:
        """Return its name, which is that of its file and of its extra."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def open(self) -> None:
        """Load its package, make its folder, and take the place before anything is written.

        Raises:
            EmabenchError: see the class.
            OSError: the folder cannot be made.
        """

    @abstractmethod
    def write(self, run: MirroredRun) -> int:
        """Bring the place up to date with a run, and return how many values are new there.

        What the place has is found out from the place, so that a mirror may end at any moment.

        Raises:
            EmabenchError: the place cannot be written.
        """

    def close(self) -> None:
        """Leave the place to others; nothing is written afterwards."""
        self._lock.release()

    def take(self, lock: Path) -> None:
        """Hold the lock of the place until it is left.

        Raises:
            EmabenchError: another mirror holds it.
        """
        self._lock = FileLock(lock)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise EmabenchError(
                f"another mirror writes to {self.place}",
                hint="wait for it, or choose another place with -o",
            ) from None

    def load(self, module: str) -> Any:
        """Import a module of its package.

        Raises:
            EmabenchError: the package is not installed.
        """
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise EmabenchError(
                f"a mirror in {self.name()} needs {error.name}, which is not installed",
                hint=f"pip install 'emabench[{self.name()}]'",
            ) from None

    def failure(self, error: OSError) -> EmabenchError:
        """Return what to raise where the place cannot be written."""
        return EmabenchError(
            f"cannot write to {self.place}: {error.strerror}",
            hint="choose another place with -o",
        )


def digest_of(values: Any) -> str:
    """Return the SHA-256 of plain values: what a tracker keeps to see that nothing is new."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
