"""Streams that are closed, full or of another encoding: one line, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from seeding import plan

from emabench.store import RunStore

EXAMPLE = Path(__file__).parents[2] / "results.db.example"


def shell(words, **variables):
    return subprocess.run(
        ["/bin/sh", "-c", words.replace("emabench", f"{sys.executable} -m emabench", 1)],
        capture_output=True,
        env={**os.environ, "PYTHONUNBUFFERED": "", **variables},
        check=False,
    )


def test_closed_streams_lose_nothing(folder):
    result = shell("emabench queue --preset quick --db u.db <&- >&- 2>&-")
    assert (result.returncode, result.stderr) == (0, b"")
    with RunStore.open("u.db", mode="read") as store:
        assert len(store.runs()) == 1


def test_a_closed_stdout_leaves_stderr_alone(folder):
    result = shell("emabench list --db none.db >&-")
    assert (result.returncode, result.stderr[:6]) == (3, b"error:")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--version", f"list --db {EXAMPLE} --json"])
def test_a_full_disk_behind_stdout_is_said_in_one_line(folder, words, unbuffered):
    result = shell(f"emabench {words} >/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == b"error: cannot write the output: " + (
        b"No space left on device"
    )
    assert result.stderr.splitlines()[-1].startswith(b"hint: ")
    assert b"Exception ignored" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_notes_that_nobody_can_read_end_no_command(folder):
    result = shell(f"emabench compare --db {EXAMPLE} --metric top1 --json 2>/dev/full")
    assert result.returncode == 0
    assert json.loads(result.stdout)["schema_version"] == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_json_in_every_encoding(folder, encoding):
    label = "é…"
    with RunStore.open("u.db", mode="write") as store:
        store.add_run(plan(name=label))
    result = shell("emabench list --db u.db --json", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["runs"][0]["name"] == label
    assert shell("emabench list --db u.db", PYTHONIOENCODING=encoding).returncode == 0
