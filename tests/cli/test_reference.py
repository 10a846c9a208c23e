"""The reference documents every command, option, variable, field, preset and exit code."""

import functools
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from plugged import write_examples

from emabench import errors
from emabench.cli.app.discovery import command_names, load_command
from emabench.cli.app.main import app
from emabench.records import JobKind
from emabench.spec import ExperimentSpec, SecondView
from emabench.spec.experiment import parse_scalar
from emabench.spec.paths import all_paths
from emabench.spec.settings import NO_PRESET, preset_names
from emabench.store.schema.tables import StoreTable

DOCS = Path(__file__).parents[2] / "docs"
CLI = (DOCS / "reference" / "cli.md").read_text("utf-8")
SPECS = (DOCS / "reference" / "specs.md").read_text("utf-8")
PAGES = (
    CLI,
    SPECS,
    *(
        (DOCS / "how-to" / f"{n}.md").read_text("utf-8")
        for n in ("sweeps", "evaluate", "costs", "ci-gate", "publish")
    ),
)


def commands():
    for name in command_names():
        command = load_command(name)
        yield f"emabench {name}", command
        for inner, each in getattr(command, "commands", {}).items():
            yield f"emabench {name} {inner}", each


def section(title):
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#|\Z)", CLI, re.M | re.S)
    assert found, f"no section {title}"
    return found[2]


def examples():
    for page in PAGES:
        for line in page.splitlines():
            if line.startswith("    emabench "):
                yield line.strip().partition(" > ")[0]


@pytest.mark.parametrize(("title", "command"), list(commands()))
def test_every_option_of_a_command_is_in_its_section(title, command):
    text = section(title)
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("-") and option not in ("--help", "-h"):
                assert re.search(rf"`{option}\b[^`]*`", text), f"{title} {option}"
    documented = set(re.findall(r"`(--[a-z-]+)", text))
    known = {option for parameter in command.params for option in parameter.opts}
    nested = {
        o for c in getattr(command, "commands", {}).values() for p in c.params for o in p.opts
    }
    assert documented <= known | nested


def test_global_options_are_documented():
    for parameter in typer.main.get_command(app).params:
        for option in parameter.opts:
            assert f"`{option}`" in CLI.partition("## Settings")[0]


@pytest.mark.parametrize(("title", "command"), list(commands()))
def test_every_variable_is_documented(title, command):
    for parameter in command.params:
        if variable := getattr(parameter, "envvar", None):
            assert f"`{variable}`" in CLI, title


def test_every_exit_code_is_documented():
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in found if issubclass(each, errors.EmabenchError)}
    documented = set(re.findall(r"^\| (\d+) \|", CLI, re.M))
    assert documented == {str(code) for code in codes | {0}}


@pytest.mark.parametrize("line", sorted(set(examples())))
def test_every_example_is_a_command_line_that_parses(line, folder):
    write_examples(folder)
    program, name, *words = shlex.split(line)
    command = load_command(name)
    if words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    context = command.make_context(f"{program} {name}", words)
    context.close()
    assert context.params.keys() == {parameter.name for parameter in command.params} - {"help"}


def test_every_field_is_documented_with_its_default():
    rows = dict(
        re.findall(
            r"^\| `([^`]+)` \| [^|]+ \| `([^`]*)` \| \S", SPECS.partition("## Fields")[2], re.M
        )
    )
    rows = {path: default for path, default in rows.items() if not path.startswith("bench.")}
    groups = ("augmentation.second_view.", "evaluation.data.")
    local = "augmentation.local_views."
    of_every_view = {f"{local}{name}" for name in SecondView.model_fields} - {f"{local}crop_scale"}
    paths = {path.removeprefix("pretrain.") for path in all_paths()} - of_every_view
    single = [path for path in paths if not path.startswith((*groups, "bench."))]
    assert set(single) | {group + "*" for group in groups} == set(rows)
    for path in single:
        complete = path if path in all_paths() else f"pretrain.{path}"
        default = functools.reduce(getattr, complete.split("."), ExperimentSpec())
        plain = json.loads(json.dumps(default))
        assert parse_scalar(rows[path], what=path) == plain, path


def test_every_preset_is_documented():
    for name in [*preset_names(), NO_PRESET]:
        assert f"| `{name}` |" in SPECS


def test_the_example_file_is_a_valid_spec():
    (text,) = re.findall(r"```yaml\n(.*?)```", SPECS, re.S)
    fields = yaml.safe_load(text)
    assert fields.pop("preset") in preset_names()
    assert ExperimentSpec.parse(fields).pretrain.ema.scope == "projector"


def test_the_store_page_has_every_table_and_kind_of_job():
    page = (DOCS / "reference" / "store.md").read_text("utf-8")
    drawing = page.split("```")[1]
    for table in StoreTable.metadata.tables:
        assert f"| `{table}` |" in page, table
        assert table in drawing, table
    assert all(f"`{kind.value}`" in page for kind in JobKind)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.name)
def test_every_line_of_a_table_is_closed(path):
    rows = [line for line in path.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert [row for row in rows if not row.endswith(" |")] == []
