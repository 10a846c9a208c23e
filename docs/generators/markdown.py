"""Markdown for tables that read well on GitHub and in Sphinx alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a ``|`` inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def code(text: object) -> str:
    """Return text as inline code."""
    return f"`{text}`"


def prose(docstring: str | None) -> str:
    """Return a docstring as one line of Markdown: inline code in single backticks, None as null."""
    text = " ".join((docstring or "").split()).replace("``", "`")
    # Outside of code a browser would take <block> for an element and show nothing.
    outside = re.compile(r"(`[^`]*`)|<")
    text = outside.sub(lambda found: found[1] or "\\<", text)
    return re.sub(r"\bNone\b", "`null`", text)
