"""The cells of a page that is a MyST notebook, executed one after the other, and what they show."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_CELL = re.compile(r"^```(?:\{code-cell\} )?python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"(^<!-- shown -->\n)(?:.*\n)*?(<!-- end -->$)", re.MULTILINE)


def cells(text: str) -> list[str]:
    """Return the cells of a page, in their order."""
    return _CELL.findall(text)


def run(sources: list[str]) -> Iterator[str]:
    """Execute cells in one namespace, as a notebook would; yield what each of them shows.

    That is what it prints, and the value of the expression at its end.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for source in sources:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _execute(source, names)
        yield printed.getvalue() + ("" if value is None else f"{value!r}\n")


def with_shown(text: str) -> str:
    """Return a page with what its cells show, wherever it has a place for it.

    A place lies between ``<!-- shown -->`` and ``<!-- end -->`` below its cell. Cells below the
    last place are not executed.

    Raises:
        ValueError: a place has no cell above it.
    """
    places = list(_SHOWN.finditer(text))
    if not places:
        return text
    above = [len(cells(text[: place.start()])) for place in places]
    if not all(above):
        raise ValueError("what is shown stands below no cell")
    with contextlib.chdir(ROOT):
        shown = list(run(cells(text[: places[-1].start()])))
    for place, number in reversed(list(zip(places, above, strict=True))):
        said = shown[number - 1].strip("\n")
        part = said if said.startswith("|") else f"```text\n{said}\n```"
        text = f"{text[: place.start()]}{place[1]}\n{part}\n\n{place[2]}{text[place.end() :]}"
    return text


def _execute(source: str, names: dict[str, Any]) -> Any:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
