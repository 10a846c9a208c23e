"""Finds every command that README and docs show.

The rule. A command is

1. a line of a fenced block that is labelled ``console``, ``bash``, ``sh`` or ``shell``. If a line
   of the block begins with ``$ ``, the lines that do are its commands and the others are output. A
   backslash at the end joins lines; blank lines and comments are left out;
2. a line of an indented block, or of a fenced one without a label or labelled ``text``, whose first
   word is one of ``PROGRAMS``. All lines of such a block have to be commands, or none, and a block
   without commands has to begin like one of ``NO_COMMANDS``;
3. a code span that begins with ``emabench `` and has more than the name of a command, or that
   fills a cell of a table. A name alone in a sentence speaks of the command and shows nothing.

Blocks that are labelled with another language are no commands; no line of theirs may begin with
``emabench`` and a name. What fits none of this is an error, so that no command escapes by its form.
What lies between ``<!-- printed: … -->`` or ``<!-- shown -->`` and ``<!-- end -->`` is output, of
docs/generate.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELLS = ("console", "bash", "sh", "shell")
LANGUAGES = (
    "python",
    "code-cell",
    "yaml",
    "json",
    "toml",
    "html",
    "latex",
    "bibtex",
    "mermaid",
    "sql",
    "diff",
)
DIRECTIVES = ("toctree", "include")
"""Of Sphinx: what they show is on another page."""
PROGRAMS = (
    "emabench", "python", "pip", ".", ".venv/bin/emabench", ".venv/bin/pip", ".venv/bin/ruff",
    "export", "set", "cd", "git", "cp", "sqlite3", "createuser", "createdb", "psql", "pg_dump",
    "ssh", "sphinx-build", "pytest", "lint-imports", "strings", "tensorboard",
    "mlflow", "wandb",
)  # fmt: skip
"""What a command line begins with; a page that needs another program adds it here."""
NO_COMMANDS = (
    '{"',  # what --json prints
    " run  ",  # the table that run prints
    "top1 +0.15",  # a cell of a comparison
    "gate ",  # lines of a gate
    "flowers/",  # a tree of images
    "db.example.org:5432:",  # a line of ~/.pgpass
    "emabench/\n",  # the tree of the package
    "projector: cheaper",  # the words of a verdict
    "views ─",  # a drawing of a network
    "              \N{MINUS SIGN}margin",  # a drawing of intervals
    "experiments ─<",  # a drawing of the tables
)  # fmt: skip
"""How blocks begin that show output, files or drawings."""
_MENTION = re.compile(r"emabench( (db|plot|spec|studies))?( [a-z]+)?$")
_PRINTED = re.compile(
    r"^<!-- (?:printed: (emabench .*)|shown) -->\n(?:.*\n)*?<!-- end -->$", re.MULTILINE
)
_COMMAND_LINE = re.compile(r"^\s*(\$ )?emabench [a-z]+", re.M)


@dataclass(frozen=True)
class Shown:
    """A command line, and where it is shown."""

    text: str
    page: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Block:
    """A block of code: fenced with its label, or indented (None)."""

    label: str | None
    text: str
    line: int


class UnclassifiedError(Exception):
    """A block that the rule does not cover."""


def blocks_of(text: str) -> tuple[list[Block], list[tuple[int, str]]]:
    """Return the blocks of a page, and the numbered lines outside of them."""
    blocks, prose = [], []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = re.match(r"^( {0,3})(`{3,}|~{3,}|:{3,})\s*(.*)$", line)
        # An indented block follows a blank line; what follows an item of a list belongs to it.
        indented = line.startswith("    ") and (number == 0 or not lines[number - 1].strip())
        if fence and fence[2][0] != ":":
            start, number = number + 1, number + 1
            while number < len(lines) and not lines[number].strip().startswith(fence[2]):
                number += 1
            words = re.sub(r"[{}]", " ", fence[3]).split()
            inner = [each.removeprefix(fence[1]) for each in lines[start:number]]
            blocks.append(Block(words[0] if words else "", "\n".join(inner) + "\n", start + 1))
            number += 1
        elif indented and not _in_list(lines, number):
            start = number
            while number < len(lines) and (
                lines[number].startswith("    ") or not lines[number].strip()
            ):
                number += 1
            text_ = "\n".join(each.removeprefix("    ") for each in lines[start:number])
            blocks.append(Block(None, text_.rstrip() + "\n", start + 1))
        else:
            prose.append((number + 1, line))
            number += 1
    return blocks, prose


def _in_list(lines: list[str], number: int) -> bool:
    """Whether the nearest text above that is not indented is an item of a list."""
    for line in reversed(lines[:number]):
        if line.strip() and not line.startswith(" "):
            return bool(re.match(r"([-*+]|\d+[.)]) ", line))
    return False


def commands_of(text: str, page: str) -> list[Shown]:
    """Return the commands of a page, in its order.

    Raises:
        UnclassifiedError: the page has a block that the rule does not cover.
    """
    blocks, prose = blocks_of(_PRINTED.sub(lambda part: "\n" * part[0].count("\n"), text))
    found = [
        Shown(line, page, block.line + offset)
        for block in blocks
        for offset, line in _commands_in(block, page)
    ]
    blocked = {command.text for command in found}
    spans = [Shown(span, page, line) for line, span in _spans(prose) if span not in blocked]
    once = {span.text: span for span in reversed(spans)}.values()
    return sorted([*found, *once], key=lambda each: each.line)


def _commands_in(block: Block, page: str) -> Iterator[tuple[int, str]]:
    lines = _joined(block.text)
    where = f"{page}:{block.line}"
    if block.label in SHELLS:
        if any(line.startswith("$ ") for _, line in lines):
            lines = [(n, line[2:]) for n, line in lines if line.startswith("$ ")]
    elif block.label in (*LANGUAGES, *DIRECTIVES):
        if _COMMAND_LINE.search(block.text):
            raise UnclassifiedError(f"{where}: a command in a block of {block.label}")
        return
    elif block.label in (None, "", "text"):
        known = [line.split()[0] in PROGRAMS for _, line in lines]
        if not any(known):
            if not block.text.startswith(NO_COMMANDS):
                raise UnclassifiedError(
                    f"{where}: neither in PROGRAMS nor in NO_COMMANDS: {lines[0][1]}"
                )
            return
        if not all(known):
            raise UnclassifiedError(f"{where}: some lines are commands and some are not")
    else:
        raise UnclassifiedError(f"{where}: a block of {block.label}")
    for offset, line in lines:
        if line.split()[0] not in PROGRAMS and not re.match(r"[A-Z_]+=\S* \w", line):
            raise UnclassifiedError(f"{where}: {line.split()[0]!r} is not among PROGRAMS")
        yield offset, line


def printed_by(text: str) -> list[str]:
    """Return the commands whose output is on a page, as a reader would type them."""
    return [line.replace(" --markdown", "") for line in _PRINTED.findall(text) if line]


def _joined(text: str) -> list[tuple[int, str]]:
    """Return the lines that say something, with continued ones as one."""
    found: list[tuple[int, str]] = []
    going_on = False
    for offset, line in enumerate(text.splitlines()):
        bare = line.strip()
        if not bare or (bare.startswith("#") and not going_on):
            continue
        end = bare.removesuffix("\\").rstrip()
        if going_on:
            found[-1] = (found[-1][0], f"{found[-1][1]} {end}")
        else:
            found.append((offset, end))
        going_on = bare.endswith("\\")
    return found


def _spans(prose: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    text = "\n".join(line for _, line in prose)
    numbers = [number for number, _ in prose]
    for found in re.finditer(r"(?<!`)`(emabench [^`]+)`(?!`)", text):
        place = text.count("\n", 0, found.start())
        span = " ".join(found[1].replace("\\|", "|").split())
        is_cell = f"| `{found[1]}` |" in text.split("\n")[place]
        if is_cell or not _MENTION.match(span):
            yield numbers[place], span


def pages(root: Path) -> list[Path]:
    """Return README and all pages of the docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def help_examples() -> list[Shown]:
    """Return the examples of every ``--help``."""
    from emabench.cli.app.discovery import command_names, load_command

    found = []
    for name in command_names():
        command = load_command(name)
        for each in (command, *getattr(command, "commands", {}).values()):
            for line in (each.help or "").splitlines():
                if line.strip().startswith("emabench "):
                    found.append(Shown(line.strip(), f"emabench {name} --help", 0))
    return found
