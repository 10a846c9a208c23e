"""Every command's arguments and options, as the program declares them."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from emabench.cli.app.discovery import command_names, load_command
from emabench.cli.app.main import app
from generators.markdown import code, prose, table


def commands() -> Iterator[tuple[str, Any]]:
    """Yield the program itself and every command with its full name, groups before their own."""
    yield "emabench", typer.main.get_command(app)
    for name in command_names():
        command = load_command(name)
        yield f"emabench {name}", command
        for inner, each in getattr(command, "commands", {}).items():
            yield f"emabench {name} {inner}", each


def options_page() -> str:
    """Return a section for each command: what it does, and a table of what it takes."""
    return "\n\n".join(_section(title, command) for title, command in commands())


def without_help() -> list[str]:
    """Name the arguments and options that say nothing about themselves."""
    return [
        f"{title} {parameter.name}"
        for title, command in commands()
        for parameter in _shown(command)
        if not parameter.help
    ]


def _section(title: str, command: Any) -> str:
    level = "#" * min(2 + (title.count(" ") > 1), 3)
    first = (command.help or "").replace("\b", "").strip().partition("\n")[0]
    rows = [_row(parameter) for parameter in _shown(command)]
    if not rows:
        return f"{level} {title}\n\n{first}"
    head = ("takes", "default", "variable", "meaning")
    return f"{level} {title}\n\n{first}\n\n{table(head, rows)}"


def _shown(command: Any) -> list[Any]:
    # The words about completion are typer's, and change with its version.
    left_out = ("help", "install_completion", "show_completion")
    return [p for p in command.params if p.name not in left_out and not p.hidden]


def _row(parameter: Any) -> tuple[str, str, str, str]:
    is_option = parameter.param_type_name == "option"
    names = ", ".join(parameter.opts) if is_option else ""
    value = "" if getattr(parameter, "is_flag", False) else _value(parameter)
    variable = code(parameter.envvar) if getattr(parameter, "envvar", None) else ""
    taken = code(f"{names} {value}".strip())
    return taken, _default(parameter), variable, prose(parameter.help)


def _value(parameter: Any) -> str:
    """Return what stands for the value: the declared word, the choices, or the kind of number."""
    if parameter.metavar:
        return str(parameter.metavar)
    # Older versions of typer keep click's type, newer ones the annotation.
    described = getattr(parameter, "type_descriptor", None)
    kind: Any = parameter.type if described is None else described.annotation
    choices = getattr(kind, "choices", None) or (kind if isinstance(kind, enum.EnumMeta) else None)
    if choices:
        return "|".join(str(getattr(each, "value", each)) for each in choices)
    name = getattr(kind, "name", None) or kind.__name__
    return {"int": "N", "integer": "N", "integer range": "N", "float": "NUMBER"}.get(name, "TEXT")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    value = parameter.default
    if callable(value) or value is None or value is False or value in ([], ()):
        return ""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Path):
        value = os.fspath(value)
    return code(value)
