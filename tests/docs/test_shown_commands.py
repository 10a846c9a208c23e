"""Every command that README, docs and ``--help`` show is executed, and ends as the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import place
import pytest
import shown
from changes import CHANGES
from page import Page, changes_of

from emabench.cli.app.discovery import command_names

CLI = "docs/reference/cli.md"


def read_all() -> dict[str, str]:
    return {
        str(path.relative_to(place.ROOT)): path.read_text("utf-8")
        for path in shown.pages(place.ROOT)
    }


def cases() -> Iterator[tuple[str, list[shown.Shown]]]:
    """Yield each page with its commands; the longest one in its sections, the help as one."""
    on_pages = set()
    for page, text in read_all().items():
        commands = shown.commands_of(text, page)
        on_pages |= {command.text for command in commands}
        if page != CLI:
            yield page, commands
            continue
        starts = [
            (number, line.removeprefix("## "))
            for number, line in enumerate(text.splitlines(), 1)
            if line.startswith("## ") or number == 1
        ]
        for (start, title), (end, _) in zip(starts, [*starts[1:], (10**9, "")], strict=True):
            yield f"{page} {title}", [each for each in commands if start <= each.line < end]
    examples = [each for each in shown.help_examples() if each.text not in on_pages]
    yield "emabench --help", examples


CASES = [(name, commands) for name, commands in cases() if commands]


@pytest.mark.docs
@pytest.mark.parametrize(("name", "commands"), CASES, ids=[name for name, _ in CASES])
def test_commands_of_a_page_work(name, commands, programs, prepared, tmp_path, monkeypatch):
    text = read_all().get(name, "")
    place.furnish(tmp_path, prepared, text)
    env = place.environment(programs.folder, programs.warm) | {"PYTHONPATH": str(place.ROOT)}
    troubles = Page(tmp_path, env, prepared, monkeypatch).run_all(commands)
    assert not troubles, "\n\n".join(troubles)


def test_every_change_is_of_a_command_that_is_shown():
    used = {id(change) for _, commands in CASES for each in commands for change in changes_of(each)}
    dead = [change.pattern for change in CHANGES if id(change) not in used]
    assert not dead


def test_what_no_rule_covers_is_an_error():
    for text in (
        "\n    emabanch run\n",
        "\n```\nnonsense --now\n```\n",
        "\n```\nemabench list\nnonsense --now\n```\n",
        "\n```fish\nemabench list\n```\n",
        "\n```yaml\nemabench list\n```\n",
        "\n```console\nnonsense --now\n```\n",
    ):
        with pytest.raises(shown.UnclassifiedError):
            shown.commands_of(text, "page")


def test_commands_are_found_in_every_form():
    text = (
        "Speaks of `emabench run`, `emabench db check`; shows `emabench show\n@last`.\n\n"
        "| `emabench list` | `emabench eval` alone |\n\n"
        "    emabench compare \\\n      --json\n    # a remark\n    emabench du\n\n"
        "- an item\n\n    that goes on\n\n"
        "```console\n$ emabench list --json\n{}\n```\n"
    )
    found = [command.text for command in shown.commands_of(text, "page")]
    assert found == [
        "emabench show @last",
        "emabench list",
        "emabench compare --json",
        "emabench du",
        "emabench list --json",
    ]


def test_output_stands_beside_the_command_that_prints_it():
    for page, text in read_all().items():
        commands = {command.text for command in shown.commands_of(text, page)}
        assert set(shown.printed_by(text)) <= commands, page
    output = "<!-- printed: emabench list --markdown -->\n\n| id |\n\n<!-- end -->\n"
    text = f"    emabench list\n\n{output}"
    assert shown.printed_by(text) == [each.text for each in shown.commands_of(text, "page")]


def test_no_line_of_a_block_escapes():
    """By a rule that is as coarse as can be: a known name of a command at the start of a line."""
    names = "|".join(command_names())
    for page, text in read_all().items():
        found = {command.line for command in shown.commands_of(text, page)}
        coarse = re.compile(rf"(    |\$ )emabench ({names})\b")
        lines = [n for n, line in enumerate(text.splitlines(), 1) if coarse.match(line)]
        assert set(lines) <= found, page
