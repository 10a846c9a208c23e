import io
import json
import os
import pty
import subprocess
import sys

import pytest
from rich.table import Table

from emabench.analysis.cautions import Caution
from emabench.cli.app.console import err, out, print_cautions, print_json

LONG = "x" * 500


class Terminal(io.StringIO):
    def isatty(self):
        return True


def styled_table():
    table = Table()
    table.add_column("name", style="bold red")
    table.add_row(LONG)
    return table


def test_a_pipe_gets_neither_colour_nor_cuts(capsys):
    out().print(styled_table())
    out().print(LONG, style="red")
    text = capsys.readouterr().out
    assert text.count(LONG) == 2
    assert "\x1b" not in text


def test_colour_settings_of_the_user_do_not_reach_a_pipe(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    out().print(styled_table())
    text = capsys.readouterr().out
    assert LONG in text
    assert "\x1b" not in text


def test_a_terminal_gets_colour_unless_it_refuses(monkeypatch):
    terminal = Terminal()
    # Not in a fixture: pytest puts its own stream back before the test itself.
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out().print("word", style="red")
    assert "\x1b[" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    before = len(terminal.getvalue())
    out().print(styled_table())
    assert "\x1b" not in terminal.getvalue()[before:]


def test_brackets_are_text(capsys):
    out().print("[red] [0.2, 1] :smile:")
    assert capsys.readouterr().out == "[red] [0.2, 1] :smile:\n"


def test_notes_go_to_stderr(capsys):
    err().print("note")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "note\n")


def test_json_is_plain_and_strict(capsys):
    value = {"a": [1, 0.5, None, "é"]}
    print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert "é" in text
    with pytest.raises(ValueError, match="JSON"):
        print_json(float("nan"))


def test_data_on_stdout_survives_a_terminal_on_stderr(tmp_path):
    main, secondary = pty.openpty()
    try:
        process = subprocess.run(
            [sys.executable, "-m", "emabench", "spec", "presets", "--json"],
            stdout=subprocess.PIPE,
            stderr=secondary,
            check=True,
            cwd=tmp_path,
        )
    finally:
        os.close(secondary)
        os.close(main)
    assert json.loads(process.stdout)["schema_version"] == 1


def test_many_warnings_of_a_kind_are_a_few_lines(capsys):
    unpaired = [Caution("unpaired", f"arm {n} lacks a seed", hint="run it") for n in range(9)]
    others = [Caution("dirty", "1 run is dirty"), Caution("new", "a b"), Caution("new", "c d")]
    print_cautions(["first"], [*unpaired, *others])
    assert capsys.readouterr().err.splitlines() == [
        "note: first",
        "warning: 9 arms do not pair up with their baselines",
        "    arm 0 lacks a seed",
        "    arm 1 lacks a seed",
        "hint: run it",
        "warning: 1 run is dirty",
        "warning: a b; and 1 more of this kind",
        "    c d",
        "note: 7 more warnings like these; --json has all of them",
    ]
