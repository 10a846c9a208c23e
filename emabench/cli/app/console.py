"""Where the commands print: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from emabench.table import counted, visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console

    from emabench.analysis.cautions import Caution

_SHOWN = 2
"""Warnings of one kind that are shown."""
_WIDE = 100_000
"""Columns of a pipe: nothing is ever cut or wrapped there."""


def out() -> Console:
    """Return the console for data: plain and unlimited in width unless it is a terminal."""
    return _console(sys.stdout)


def err() -> Console:
    """Return the console for progress, notes and warnings."""
    return _console(sys.stderr)


def print_cautions(notes: Iterable[str], cautions: Iterable[Caution] = ()) -> None:
    """Write to stderr what the reader must know: notes, then warnings with their hints.

    Of many warnings of one kind some are shown, for a store of many arms would say little else.
    """
    from emabench.analysis.cautions import grouped_cautions

    console, hidden = err(), 0
    for note in notes:
        console.print(f"note: {note}")
    for group in grouped_cautions(cautions):
        console.print(f"warning: {group.heading}", style="bold yellow")
        more = [each for each in group.messages if not group.heading.startswith(each)]
        for message in more[:_SHOWN]:
            console.print(f"    {message}", style="yellow")
        hidden += len(more[_SHOWN:])
        for hint in group.hints[:_SHOWN]:
            console.print(f"hint: {hint}")
    if hidden:
        console.print(f"note: {counted(hidden, 'more warning')} like these; --json has all of them")


def print_json(value: Any) -> None:
    """Write plain values to stdout as JSON, on several lines.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    sys.stdout.write(_json(value, indent=2) + "\n")


def print_json_line(value: Any) -> None:
    """Write plain values to stdout as JSON on one line, at once.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    sys.stdout.write(_json(value) + "\n")
    sys.stdout.flush()


def _json(value: Any, *, indent: int | None = None) -> str:
    # JSON escapes the first control characters itself.
    unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=not unicode)
    return visible_json(text)


def _console(stream: TextIO) -> Console:
    from rich.console import Console as RichConsole

    class Console(RichConsole):
        """Shows what a text of others would have a terminal do, and does not do it."""

        def print(self, *objects: Any, **settings: Any) -> None:
            shown = (visible(each) if isinstance(each, str) else each for each in objects)
            super().print(*shown, **settings)

    on_terminal = stream.isatty()
    plain = not on_terminal or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=stream,
        width=None if on_terminal else _WIDE,
        force_terminal=on_terminal,
        color_system=None if plain else "auto",
        no_color=plain,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not on_terminal,
    )
