"""A process that has imported torch, and the store of the pages: made once for all workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import place
import pytest
import warm_process
from filelock import FileLock


@dataclass(frozen=True)
class Programs:
    """The folder of the program ``emabench``, and the socket of the warm process."""

    folder: Path
    warm: Path


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    folder = tmp_path_factory.mktemp("programs")
    warm_process.write_program(folder / "emabench")
    # Not a link: that would leave the virtual environment.
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="emabench-docs-") as short:
        warm = Path(short) / "socket"
        started = [sys.executable, str(Path(warm_process.__file__)), str(warm)]
        paths = os.pathsep.join(filter(None, [str(place.ROOT), os.environ.get("PYTHONPATH", "")]))
        with subprocess.Popen(started, env={**os.environ, "PYTHONPATH": paths}) as process:
            while not warm.exists():
                assert process.poll() is None, "the warm process has died"
                time.sleep(0.05)
            try:
                yield Programs(folder, warm)
            finally:
                process.kill()


@pytest.fixture
def prepared(
    programs: Programs, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> place.Prepared:
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "docs-prepared"
    with FileLock(f"{folder}.lock"):
        done = folder.with_suffix(".ids")
        if not done.exists():
            folder.mkdir()
            made = place.prepare(folder, place.environment(programs.folder, programs.warm))
            done.write_text(" ".join(made.ids))
        first, second = done.read_text().split()
    return place.Prepared(folder, (first, second))
