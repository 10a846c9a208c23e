"""What ``-o FILE`` names: never a device, a pipe or a socket that is replaced by a file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from studied import study

from emabench.store import RunStore


@pytest.fixture(scope="module")
def store_file(tmp_path_factory):
    place = tmp_path_factory.mktemp("store") / "results.db"
    with RunStore.open(str(place), mode="write") as store:
        study(store, arms=2, seeds=1)
    return place


COMMANDS = {
    "export": ["export", "--force"],
    "backup": ["db", "backup", "--force"],
    "scrub": ["db", "scrub", "--force"],
    "weights": ["weights", "@last", "--force"],
    "report": ["report"],
    "plot": ["plot", "pareto"],
    "stability": ["stability"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_and_stays(emabench, folder, store_file, command, kind):
    Path("results.db").symlink_to(store_file)
    ending = {"report": ".html", "plot": ".png", "stability": ".png"}.get(command, ".x")
    place = Path(f"place{ending}")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(place))
    else:
        place.symlink_to("/dev/null")
    before = place.lstat()
    refused = emabench([*COMMANDS[command], "-o", str(place)])
    assert (refused.code, f"{place} is a {kind}" in refused.err) == (2, True), refused.err
    assert refused.hint
    assert place.lstat().st_ino == before.st_ino
    assert not stat.S_ISREG(place.stat().st_mode)
    assert {path.name for path in folder.iterdir()} <= {"results.db", place.name}
