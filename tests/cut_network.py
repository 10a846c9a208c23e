"""Processes of Python without a network, which tell whether they reached for it."""

from __future__ import annotations

import os
from pathlib import Path

_CUT = """
import os, sys

def cut(event, arguments):
    if event == "socket.getaddrinfo" or (
        event == "socket.connect" and not isinstance(arguments[1], str | bytes)  # no Unix socket
    ):
        with open(os.environ["REACHED"], "a") as record:
            record.write(f"{event} {arguments[-1]}\\n")
        raise OSError("the network is cut")

sys.addaudithook(cut)
"""
"""What a process of Python loads before anything else, and so do those that it starts."""


def cut_network(folder: Path) -> dict[str, str]:
    """Return the variables that cut a process off; it makes ``folder/reached`` if it notices."""
    (folder / "cut").mkdir()
    (folder / "cut" / "sitecustomize.py").write_text(_CUT)
    places = os.pathsep.join([str(folder / "cut"), os.environ["PYTHONPATH"]])
    return {"PYTHONPATH": places, "REACHED": str(folder / "reached")}
