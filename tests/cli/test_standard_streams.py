"""Streams that are closed, full or of another encoding: one line, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from seeding import complete, plan

from emabench.store import RunStore
from emabench.table import Table

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


EVIL = "a\x1b]0;title\x07b\x9b31mc\u202ed\x7f"


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--markdown"]])
def test_what_others_wrote_is_shown_and_not_obeyed(folder, emabench, form):
    with RunStore.open("results.db", mode="write") as store:
        run = complete(store, plan(name=EVIL))
    for words in (["list", *form], ["show", run]):
        result = emabench(words)
        assert result.code == 0, result.err
        assert not set("\x1b\x07\x9b\u202e\x7f") & set(result.out + result.err)
    assert "title" in result.out
    table = Table(("name", EVIL), ((EVIL, 1),))
    for text in (table.to_csv(), table.to_markdown(), table.to_latex()):
        assert "]0;title" in text


@pytest.mark.parametrize(
    ("word", "words"),
    [
        (EVIL, "the control character '\\x1b'"),
        ("b\udcff", "is not UTF-8 text"),
        ("two\nlines", "the control character '\\n'"),
        ("\x00", "the control character '\\x00'"),
        ("a\u202eb", "the control character '\\u202e'"),
    ],
)
@pytest.mark.parametrize("option", ["--name", "--db", "--data-dir"])
def test_what_cannot_be_seen_is_refused_in_an_argument(folder, emabench, option, word, words):
    result = emabench(["queue", option, word])
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert result.hint
    assert not (folder / "results.db").exists()
