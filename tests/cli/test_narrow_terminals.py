"""Tables on terminals of any width: nothing is cut, and what is not shown is said."""

import re

import pytest
from made_store import make_store
from rich.console import Console

from emabench.cli.app.main import run
from emabench.cli.show.queue_view import QueueView
from emabench.cli.show.tables import FittedTable
from emabench.report.tables.run_table import reading_table
from emabench.store import RunStore
from emabench.table import Table

WIDTHS = (60, 80, 120, 200)
WORDS = Table(
    ("id", "what it is", "top1 - full", "reason"),
    (
        ("0123456789ab", "a run with words", "+1.17 [-0.95, +3.28]", "/a/path/" + "x" * 60),
        ("ba9876543210", "short", "baseline", "no space left on device"),
    ),
    right=frozenset({"top1 - full"}),
    spare=("what it is",),
)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "results.db"
    make_store(path)
    return str(path)


def shown(what, width):
    """Return the lines on a terminal of a width."""
    console = Console(width=width, force_terminal=True, no_color=True, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.fixture
def on_terminal(monkeypatch, capsys):
    """Runs a command on a terminal of a width; returns the lines of stdout, and stderr."""

    def call(width, *words):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        assert run(words) == 0
        captured = capsys.readouterr()
        return [line.rstrip() for line in captured.out.splitlines()], captured.err

    return call


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_and_no_id_is_split(width, db, on_terminal):
    with RunStore.open(db, mode="read") as store:
        ids = [each.id for each in store.runs()]
    lines, notes = on_terminal(width, "list", "--db", db)
    assert max(map(len, lines)) <= width
    # One line a run, which begins with its whole id.
    assert [line.split()[0] for line in lines if re.match(r" [0-9a-f]{12} ", line)] == ids
    assert len(lines) == len(ids) + len([line for line in lines if not re.match(r" \w{12} ", line)])
    assert ("no room for" in notes) == (width < 200)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    "words",
    [["compare", "--where", "method=moco", "--runs"], ["show", "@last"], ["stability"]],
)
def test_words_and_numbers_stay_whole(width, words, db, on_terminal):
    wide = re.findall(r"\S+", "\n".join(on_terminal(100_000, *words, "--db", db)[0]))
    lines, _ = on_terminal(width, *words, "--db", db)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    # Only headers may be folded within a word, after an underscore; only hashes anywhere.
    pieces = {word for each in wide for word in (each, *re.findall(r"[^_]+_*", each))}
    cut = {word for word in re.findall(r"\S+", text) if word not in pieces}
    assert {word for word in cut if not re.fullmatch(r"[d-]{4,}|─+", word)} == set()


def test_the_columns_that_can_be_spared_go_first_then_those_on_the_right():
    fitted = FittedTable(WORDS)
    assert fitted.lost(200) == []
    assert fitted.lost(75) == []  # folded instead
    assert fitted.lost(60) == ["what it is"]
    assert fitted.lost(40) == ["what it is", "reason"]
    assert shown(fitted, 32)[3:6] == [
        " 0123456789ab              +1.17",
        "                  [-0.95, +3.28]",
        " ba9876543210           baseline",
    ]


def test_a_path_is_folded_where_a_table_has_room_for_no_more():
    lines = shown(FittedTable(WORDS), 64)
    assert "".join(line[38:].strip() for line in lines).count("x") == 60
    assert all(len(line) <= 64 for line in lines)


def test_the_narrowest_terminal_still_shows_the_first_columns():
    lines = shown(FittedTable(WORDS), 9)
    assert max(map(len, lines)) <= 9
    assert "0123456789ab" in "".join(lines).replace(" ", "")


def test_what_is_lost_is_said_briefly(db, on_terminal):
    _, notes = on_terminal(60, "stability", "--db", db)
    assert re.search(r"no room for \d+ of \d+ columns", " ".join(notes.split()))
    _, notes = on_terminal(80, "list", "--db", db)
    assert "no room for backbone, dataset, epochs" in " ".join(notes.split())


def test_wide_letters_count_twice():
    table = Table(("id", "name"), (("0123456789ab", "モデル平均"),))
    assert any("モデル平均" in line for line in shown(FittedTable(table), 26))


@pytest.mark.parametrize("width", [44, 60, 80])
def test_the_bar_of_a_running_job_gives_way_to_no_dots(width, db):
    with RunStore.open(db, mode="read") as store:
        lines = shown(QueueView(store.queue.snapshot()), width)
    (bar,) = (line for line in lines if "20/40" in line)
    assert "…" not in bar
    assert bar.endswith("5.7 s left")
    assert ("images/s" in bar) == (width > 60)


def test_every_column_that_can_be_spared_is_one():
    table = reading_table([])
    assert set(table.spare) < set(table.headers)
