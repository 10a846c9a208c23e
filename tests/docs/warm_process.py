"""Runs command lines in forks of a process that has imported torch, at the socket it is given.

Each command is a process of its own, with the arguments, folder, environment and open files of
the program ``emabench`` that asked for it (``PROGRAM``), and runs what the console script runs.
Only the imports are shared, which would take seconds of each command and of the jobs it runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

PROGRAM = """#!{python} -SE
import array, json, os, socket, sys
place = os.environ.pop("DOCS_WARM_PROCESS", "")
if not place:
    start = "import sys; from emabench.cli.app.main import main; sys.argv[0] = 'emabench'; main()"
    os.execv(sys.executable, [sys.executable, "-c", start, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect(place)
what = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
server.sendmsg([len(what).to_bytes(4, "big")], files)
server.sendall(what)
answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""
"""The program ``emabench`` of the pages. Where no warm process is named it starts from nothing."""


def write_program(path: Path) -> None:
    """Write the program that hands its command line to a warm process."""
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)


def _serve(listener: socket.socket) -> None:
    while True:
        asked, _ = listener.accept()
        head, files, _, _ = socket.recv_fds(asked, 4, 3)
        if os.fork() == 0:
            listener.close()
            # Forked twice, so that nobody has to wait for the command but the one who asked.
            if os.fork() == 0:
                _run(asked, int.from_bytes(head, "big"), files)
            os._exit(0)
        os.wait()
        asked.close()
        for file in files:
            os.close(file)


def _run(asked: socket.socket, length: int, files: list[int]) -> None:
    what = b""
    while len(what) < length:
        what += asked.recv(length - len(what))
    arguments, folder, environment = json.loads(what)
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    from emabench.cli.app.main import run

    sys.argv = ["emabench", *arguments]
    code = 1
    try:
        code = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        asked.sendall(bytes([code]))
        os._exit(code)


def main() -> None:
    import multiprocessing

    import matplotlib.figure  # noqa: F401
    import scipy.stats  # noqa: F401
    import timm  # noqa: F401
    import torchvision  # noqa: F401

    import emabench.experiment
    import emabench.store  # noqa: F401
    from emabench.queue import process

    # The process of a job is a fork of its command, which has the imports, and of no new server.
    process._METHOD, process._CONTEXT = "fork", multiprocessing.get_context("fork")

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    _serve(listener)


if __name__ == "__main__":
    main()
