import os
import subprocess
import sys

import pytest
from seeding import complete, plan

from emabench import __version__
from emabench.cli.app import main as app
from emabench.cli.app.discovery import PANELS, command_names, load_command, panel, summary
from emabench.errors import DataError, EmabenchError, InterruptedRunError
from emabench.store import RunStore

SLOW = {"torch", "torchvision", "timm", "sqlalchemy", "alembic", "scipy", "numpy", "rich", "yaml"}
ISSUE = {"run", "compare", "list", "show", "weights", "methods", "backbones", "datasets", "spec"}


def imported_by(*arguments):
    """Run a command line in a fresh interpreter; return its process and what it imported."""
    code = (
        "import sys\n"
        "from emabench.cli.app.main import run\n"
        f"code = run({list(arguments)!r})\n"
        f"print('IMPORTED', *({SLOW!r} & set(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    last = process.stderr.splitlines()[-1]
    assert last.startswith("IMPORTED"), process.stderr
    return process, set(last.split()[1:])


def raising(monkeypatch, error):
    def fail(words):
        raise error

    monkeypatch.setattr(app, "_invoke", fail)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        ([], 0),
        (["--version"], 0),
        (["rnu"], 2),
        (["--vesrion"], 2),
        (["run", "--help"], 0),
        (["run", "--epoch", "3"], 2),
        (["weights"], 2),
        (["spec"], 0),
        (["spec", "shwo"], 2),
    ],
)
def test_help_and_parsing_import_nothing_slow(arguments, code):
    process, imported = imported_by(*arguments)
    assert process.returncode == code
    assert imported == set()


def test_the_help_of_no_command_imports_anything_slow():
    helped = "".join(f"run([{name!r}, '--help'])\nreport({name!r})\n" for name in command_names())
    code = (
        "import sys\n"
        "from emabench.cli.app.main import run\n"
        f"report = lambda name: print('IMPORTED', name, *({SLOW!r} & set(sys.modules)))\n"
    )
    shown = subprocess.check_output([sys.executable, "-W", "error", "-c", code + helped], text=True)
    for name in command_names():
        usage, _, shown = shown.partition(f"IMPORTED {name}")
        assert usage.lstrip("\n").startswith(f"Usage: emabench {name}")
        assert shown.startswith("\n"), f"{name} imports {shown.splitlines()[0]}"


@pytest.mark.parametrize(
    "arguments",
    [["spec", "show", "--seed", "x..y"], ["run", "--seed", "x..y"], ["run", "--set", "a=1"]],
)
def test_a_wrong_spec_is_found_without_torch(arguments):
    process, imported = imported_by(*arguments)
    assert process.returncode == 2
    assert imported <= {"yaml"}


@pytest.mark.parametrize("command", [["compare"], ["diff", "@last", "@last"]])
def test_comparing_loads_no_torch(folder, command):
    with RunStore.open("results.db", mode="write") as store:
        for seed in range(2):
            complete(store, plan(ema_scope="none", seed=seed), top1=60.0 + seed / 3)
            complete(store, plan(ema_scope="full", seed=seed), top1=61.0 + seed)
    process, imported = imported_by(*command)
    assert process.returncode == 0
    assert not imported & {"torch", "torchvision", "timm"}


def test_completion_proposes_commands_and_options_without_torch():
    for line, expected in (("emabench r", "run"), ("emabench run --ema", "--ema-scope")):
        env = {
            "_EMABENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        }
        process = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "emabench"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **env},
        )
        assert expected in process.stdout.split()
        modules = {row.rpartition("|")[2].strip() for row in process.stderr.splitlines()}
        assert "typer" in modules
        assert not modules & SLOW


def test_help_names_every_command_with_its_summary(emabench):
    result = emabench(["--help"])
    assert result.code == 0
    assert set(command_names()) >= ISSUE | {"doctor"}
    text = " ".join(result.out.split())
    for name in command_names():
        assert f"{name} {summary(name)}" in text
    assert emabench([]).out == result.out


def test_help_lists_every_command_once_under_its_own_heading(emabench):
    heading, found = None, {}
    for line in emabench(["--help"]).out.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line.removesuffix(":")
        elif heading in PANELS and line.startswith("  ") and line[2] != " ":
            found.setdefault(heading, []).append(line.split()[0])
    assert list(found) == list(PANELS)
    assert sorted(name for names in found.values() for name in names) == command_names()
    assert all(panel(name) == heading for heading, names in found.items() for name in names)


def test_every_command_has_an_example_that_its_help_keeps_on_a_line():
    for name in command_names():
        command = load_command(name)
        for each in getattr(command, "commands", {"": command}).values():
            assert "\n    emabench " in each.help, name
            assert "\b\nExamples:" in each.help, name


def test_version(emabench):
    assert emabench(["--version"]).out == f"emabench {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["rnu"], "error: unknown command 'rnu'", "hint: did you mean run?"),
        (["spec", "shwo"], "error: unknown command 'shwo'", "hint: did you mean show?"),
        (["--vesrion"], "error: no such option: --vesrion", "hint: did you mean --version?"),
        (["run", "--epoch", "3"], "error: no such option: --epoch", "hint: did you mean --epochs"),
        (["run", "--seed"], "error: option '--seed' requires an argument", "--help"),
        (["weights"], "error: missing argument 'RUN'", "'emabench weights --help'"),
        (
            ["doctor", "spare"],
            "error: got unexpected extra argument",
            "'emabench doctor --help'",
        ),
        (["backbones", "--image-size", "x"], "error: invalid value for '--image-size'", "--help"),
        (["run", "none.yaml", "--set", "a=1"], "error: unknown field 'a'", "hint: "),
    ],
)
def test_a_wrong_command_line_is_one_line_and_a_hint(emabench, arguments, message, hint):
    result = emabench(arguments)
    assert (result.code, result.out) == (2, "")
    first, second = result.err.splitlines()
    assert first.startswith(message)
    assert second.startswith("hint: ")
    assert hint in second


def test_errors_become_one_line_a_hint_and_their_exit_code(emabench, monkeypatch):
    raising(monkeypatch, DataError("images\nmissing", hint="look there"))
    result = emabench(["run"])
    assert result.code == DataError.exit_code
    assert result.err == "error: images missing\nhint: look there\n"
    raising(monkeypatch, EmabenchError("bare"))
    assert emabench(["run"]).err == "error: bare\n"


def test_an_unexpected_error_is_one_line_unless_debug_is_on(emabench, monkeypatch):
    raising(monkeypatch, RuntimeError("first\nsecond"))
    result = emabench(["run"])
    assert result.code == 1
    assert result.err == (
        "internal error: RuntimeError: first second; run with --debug for the traceback\n"
    )
    assert "Traceback" in emabench(["run", "--debug"]).err


@pytest.mark.parametrize(
    "arguments", [["--debug", "run", "--seed", "x"], ["run", "--seed", "x", "--debug"]]
)
def test_debug_stands_anywhere_and_adds_the_traceback(emabench, arguments):
    result = emabench(arguments)
    assert result.code == 2
    assert "Traceback" in result.err
    assert "pretrain.seed='x'" in result.err


def test_debug_behind_a_double_dash_is_an_argument(emabench):
    result = emabench(["spec", "validate", "--", "--debug"])
    assert result.code == 3
    assert "no spec file --debug" in result.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedRunError("interrupted")])
def test_an_interruption_exits_130(emabench, monkeypatch, error):
    raising(monkeypatch, error)
    result = emabench(["run"])
    assert (result.code, result.err) == (130, "error: interrupted\n")


def test_an_interruption_inside_a_command_exits_130(emabench, monkeypatch):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("emabench.cli.app.console.print_json", interrupt)
    result = emabench(["spec", "schema"])
    assert (result.code, result.err) == (130, "error: interrupted\n")


def test_a_reader_that_leaves_is_not_worth_a_word():
    script = f"{sys.executable} -m emabench spec schema; echo code $? >&2"
    process = subprocess.run(
        ["bash", "-c", f"({script}) | head -c 1"], capture_output=True, text=True, check=True
    )
    assert process.stdout == "{"
    assert process.stderr in ("code 0\n", "code 1\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["spec", "presets"], ["spec", "presets", "--json"]]
)
def test_a_closed_pipe_ends_quietly(arguments):
    read, write = os.pipe()
    os.close(read)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "emabench", *arguments],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    finally:
        os.close(write)
    assert (process.returncode, process.stderr) == (1, "")


def test_the_exit_code_of_a_command_is_kept(emabench, monkeypatch):
    monkeypatch.setattr("emabench.cli.app.main._invoke", lambda words: 4)
    assert emabench(["run"]).code == 4
