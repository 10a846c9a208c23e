"""Command lines that run beside a test, in processes of their own: in a pipe or on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 120.0
"""Seconds after which something that should have happened has not."""

# Whoever runs the tests in the background has SIGINT ignored, and so has what they start.
_START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from emabench.cli.app.main import run
sys.exit(run(sys.argv[1:]))
"""


class Program:
    """A running command line; what it writes is read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process, self._output = process, output
        self.text = ""

    def wait_for(self, words: str, *, after: int = 0) -> int:
        """Read until it has written the words, and return where they end."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.text[after:]:
            assert time.monotonic() < deadline, f"no {words!r} in {self.text!r}"
            if not self._read(0.1) and self.process.poll() is not None and not self._read(0.1):
                raise AssertionError(f"it ended without {words!r}: {self.text!r}")
        return self.text.index(words, after) + len(words)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for its end, and return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.text!r}"
            self._read(0.05)
        while self._read(0.05):
            pass
        return self.process.returncode

    @property
    def err(self) -> str:
        """What it wrote to stderr, after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def type(self, text: str) -> None:
        """Type on its terminal."""
        os.write(self._output, text.encode())

    def _read(self, seconds: float) -> bool:
        """Read what is there; False if nothing came."""
        ready, _, _ = select.select([self._output], [], [], seconds)
        try:
            found = os.read(self._output, 65536) if ready else b""
        except OSError:  # a terminal that its program has left
            found = b""
        self.text += found.decode("utf-8", errors="replace")
        return bool(found)


@contextmanager
def in_pipe(*arguments: str) -> Iterator[Program]:
    """Start a command line whose output goes to pipes."""
    with subprocess.Popen(
        [sys.executable, "-c", _START, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield Program(process, process.stdout.fileno())
        finally:
            process.kill()


@contextmanager
def on_terminal(*arguments: str) -> Iterator[Program]:
    """Start a command line on a terminal of its own; its stderr goes there too."""
    main, secondary = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "50"}
    try:
        with subprocess.Popen(
            [sys.executable, "-c", _START, *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env=environment,
        ) as process:
            os.close(secondary)
            try:
                yield Program(process, main)
            finally:
                process.kill()
    finally:
        os.close(main)
