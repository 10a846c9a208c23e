"""results.db.example: today's code reads it, and reading changes nothing."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from read_only import read_only

EXAMPLE = Path(__file__).parents[2] / "results.db.example"
READING = (
    ["list", "--limit", "5"],
    ["show", "@last"],
    ["compare", "--metric", "top1,throughput"],
    ["compare", "--study", "projector-vs-full", "--margin", "top1=1", "--runs"],
    ["stability", "--study", "gradient-stability", "--runs"],
    ["status"],
    ["db", "check"],
    ["export", "-o", "-"],
)


@pytest.fixture
def example(folder):
    """A copy, which may be harmed."""
    return Path(shutil.copy(EXAMPLE, folder / "example.db"))


def test_it_is_small_plain_and_sound(emabench, example):
    assert example.stat().st_size <= 16_000_000
    assert json.loads(emabench(["db", "check", str(example), "--json"]).out)["ok"]
    with closing(sqlite3.connect(f"file:{example}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert database.execute("PRAGMA freelist_count").fetchone() == (0,)


def test_it_has_the_schema_of_today(emabench, example):
    """If this fails: emabench db upgrade results.db.example --no-backup, then db vacuum."""
    before = example.read_bytes()
    answer = json.loads(emabench(["db", "upgrade", str(example), "--json"]).out)
    assert answer["before"] == answer["after"]
    assert example.read_bytes() == before


def test_it_names_no_machine_and_no_path(example):
    with closing(sqlite3.connect(example)) as database:
        hosts = database.execute("SELECT DISTINCT host FROM attempts").fetchall()
        places = database.execute("SELECT DISTINCT host FROM environments").fetchall()
        texts = database.execute(
            "SELECT spec || coalesce(command, '') || warnings FROM experiments"
            " UNION SELECT coalesce(reason, '') FROM attempts"
        ).fetchall()
    assert all(host.startswith("host-") for (host,) in [*hosts, *places])
    assert [text for (text,) in texts if re.search(r"(?<![\w.])/\w", text)] == []


def test_reading_changes_no_byte_and_leaves_nothing_beside_it(emabench, example):
    before = example.read_bytes()
    with read_only(example.parent):
        for command in READING:
            result = emabench([*command, "--db", str(example)])
            assert result.code == 0, f"{command}: {result.err}"
            assert result.out, command
    assert example.read_bytes() == before
    assert [path.name for path in example.parent.iterdir()] == [example.name]


def test_pictures_and_pages_are_made_of_it(emabench, example):
    study = ["--study", "projector-vs-full", "--db", str(example)]
    for kind in ("pareto", "seeds", "curves", "stability", "cost"):
        result = emabench(["plot", kind, *study, "-o", f"{kind}.svg"])
        assert result.code == 0, result.err
        assert Path(f"{kind}.svg").read_text("utf-8").count("<path") > 20
    assert emabench(["report", *study, "-o", "report.html"]).code == 0
    assert "projector-vs-full" in Path("report.html").read_text("utf-8")
