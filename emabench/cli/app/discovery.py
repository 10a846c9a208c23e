"""Finds the commands in their folder, and loads the one that is asked for.

The help of all commands is read from their source, so that ``emabench --help`` imports none.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import math
from collections.abc import Callable
from importlib import resources
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from emabench.errors import UnknownNameError, UsageError

_PACKAGE = "emabench.cli.commands"
PANELS = ("Run", "Read", "Queue", "Keep the store", "Look things up")
"""The headings of ``emabench --help``, in order; each command's file names its own in ``PANEL``."""

_OTHER_WORDS = {
    "delete": "rm",
    "evaluate": "eval",
    "label": "tag",
    "ls": "list",
    "pretrain": "run",
    "remove": "rm",
    "runs": "list",
    "train": "run",
}
"""What other programs call a command."""
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class NamedCommands(TyperGroup):
    """A group of commands that proposes near names for an unknown one, and shows help for none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before the command; no words at all ask for help."""
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the words name, and the words that are left for it.

        Raises:
            UnknownNameError: no command bears the name.
        """
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            word = args[0].casefold()
            meant = _OTHER_WORDS.get(word)
            near = [meant] if meant in known else difflib.get_close_matches(word, known)
            hint = f"did you mean {' or '.join(near)}?" if near else None
            every = f"'{ctx.command_path} --help' lists the commands"
            raise UnknownNameError("command", args[0], known, hint=hint or every)
        return super().resolve_command(ctx, args)


class CommandOnDisk(TyperCommand):
    """A command of which nothing but its name is read; its summary is when a list shows it."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the summary, whole whatever the limit is."""
        return summary(str(self.name))


class CommandFolder(NamedCommands):
    """The commands of the folder, known by name and summary; loaded when one is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.help = laid_out(self.help)
        for name in command_names():
            self.commands[name] = CommandOnDisk(name=name, rich_markup_mode=None)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings, all summaries in one column."""
        width = max(map(len, self.commands))
        for heading in PANELS:
            rows = [
                (name.ljust(width), command.get_short_help_str(formatter.width))
                for name, command in self.commands.items()
                if panel(name) == heading
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the loaded command, and the words that are left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load_command(name), rest


def command_names() -> list[str]:
    """Return the names of all commands, sorted."""
    files = (f.name for f in resources.files(_PACKAGE).iterdir())
    names = (name.removesuffix(".py") for name in files if name.endswith(".py"))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def summary(name: str) -> str:
    """Return the first line of a command's help, without importing the command."""
    module = _parsed(name)
    functions = (node for node in module.body if isinstance(node, ast.FunctionDef))
    function = next((node for node in functions if node.name == "command"), None)
    text = ast.get_docstring(module if function is None else function) or ""
    return text.partition("\n")[0]


def panel(name: str) -> str | None:
    """Return the heading of ``PANELS`` that a command's file names, without importing it."""
    for node in _parsed(name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PANEL":
            return str(ast.literal_eval(node.value))
    return None


@functools.cache
def _parsed(name: str) -> ast.Module:
    file = resources.files(_PACKAGE) / f"{name.replace('-', '_')}.py"
    return ast.parse(file.read_text("utf-8"))


def load_command(name: str) -> Any:
    """Import a command and return it in typer's form, with all its parameters.

    A file defines a function ``command``, or a group of sub-commands named ``app`` whose help is
    the docstring of the module; and ``PANEL``, its heading in the list of commands.
    """
    module = importlib.import_module(f"{_PACKAGE}.{name.replace('-', '_')}")
    group: typer.Typer | None = getattr(module, "app", None)
    if group is None:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, context_settings=_SETTINGS)(module.command)
        command: Any = typer.main.get_command(single)
        command.callback = _of_finite_numbers(command.callback)
    else:
        command = typer.main.get_command(group)
        command.name = name
        command.help = module.__doc__
        for inner in command.commands.values():
            inner.short_help = (inner.help or "").partition("\n")[0]
            inner.help = laid_out(inner.help)
            inner.context_settings = {**inner.context_settings, **_SETTINGS}
            inner.callback = _of_finite_numbers(inner.callback)
        command.context_settings = {**command.context_settings, **_SETTINGS}
    command.help = laid_out(command.help)
    return command


def _of_finite_numbers(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command refuse ``inf`` and ``nan``: typer takes them, and no bound stops ``nan``."""

    @functools.wraps(callback)
    def checked(**values: Any) -> Any:
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(
                    f"--{name.replace('_', '-')} {value} is no finite number",
                    hint="write one in digits, such as 0.5",
                )
        return callback(**values)

    return checked


def laid_out(text: str | None) -> str | None:
    """Mark the paragraphs with indented lines, so that the help keeps their line breaks."""
    if text is None:
        return None
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(f"\b\n{part}" if "\n " in part else part for part in paragraphs)
