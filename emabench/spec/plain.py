"""Plain values, within bounds: text, numbers, truth values, null, lists and mappings of them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

from emabench.errors import UsageError

DEEPEST = 50
"""Levels that values may be nested."""
MOST_VALUES = 10_000
"""Values that one text or spec may hold, those inside lists and mappings included."""
LONGEST_NUMBER = 50
"""Characters that a number may be written with."""

_INTEGERS = range(-(2**63), 2**63)
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHOWN = 80


def shown(value: Any) -> str:
    """Return a wrong value as a message repeats it: escaped, and no longer than helps."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def unprintable(text: str, *, lines: bool = False) -> str | None:
    """Say what in a text a terminal would not show as it is; None if there is nothing.

    Args:
        text: a name, a word, a path.
        lines: whether it may have several lines.
    """
    for letter in text:
        if letter == "\n" and lines:
            continue
        if unicodedata.category(letter) == "Cs":
            return "text that is not UTF-8"
        if letter in _REORDERING or unicodedata.category(letter) in _UNSEEN:
            return f"the control character {letter!a}"
    return None


def check_label(text: str, *, what: str) -> str:
    """Return a name that a user gives, if every terminal shows it as it is.

    Raises:
        UsageError: it is empty, or has what is not shown.
    """
    if not text.strip():
        raise UsageError(f"{what} is empty", hint="give it a word, or leave it out")
    found = unprintable(text)
    if found:
        raise UsageError(f"{what} {shown(text)} has {found}", hint="choose a name without it")
    return text


def read_json(text: str) -> Any:
    """Read JSON of somebody else into plain values, within the bounds of ``plain``.

    Raises:
        JSONDecodeError: it is no JSON.
        ValueError: a key stands twice, or it is too deep or too large.
    """
    try:
        return plain(json.loads(text, object_pairs_hook=unique_pairs))
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object, as ``object_pairs_hook`` of its reader.

    Raises:
        ValueError: a key stands twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} twice")
        found[key] = value
    return found


def plain(value: Any, *, lines: bool = False) -> Any:
    """Return a plain value as lists and dictionaries; what JSON cannot hold is refused.

    Args:
        value: what may be plain.
        lines: whether text may have several lines.

    Raises:
        ValueError: it is not plain, too deep, too large, or holds what cannot be printed.
    """
    return _Plain(lines).of(value, ())


class _Plain:
    def __init__(self, lines: bool) -> None:
        self._lines = lines
        self._values = 0

    def of(self, value: Any, path: tuple[str, ...]) -> Any:
        self._values += 1
        if self._values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values")
        if len(path) > DEEPEST:
            raise _error(path[:3], f"nested deeper than {DEEPEST} levels")
        if isinstance(value, Mapping):
            return {self._key(k, path): self.of(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(inner, (*path, str(index))) for index, inner in enumerate(value)]
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, int) and not isinstance(value, bool) and value not in _INTEGERS:
            raise _error(path, "a whole number of more than 64 bits")
        if value is not None and not isinstance(value, int | float):
            raise _error(path, f"a {type(value).__name__} is not a plain value")
        return value

    def _key(self, key: Any, path: tuple[str, ...]) -> str:
        if not isinstance(key, str):
            raise _error(path, f"Keys should be strings, not {shown(key)}")
        return self._text(key, path)

    def _text(self, text: str, path: tuple[str, ...]) -> str:
        found = unprintable(text, lines=self._lines)
        if found:
            raise _error(path, f"{shown(text)} has {found}")
        return text


def _error(path: tuple[str, ...], reason: str) -> ValueError:
    return ValueError(": ".join([".".join(path), reason] if path else [reason]))
