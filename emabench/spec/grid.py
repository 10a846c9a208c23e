"""Comma lists and ranges on the command line, and the grid they span."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from emabench.errors import SpecError
from emabench.spec.experiment import parse_scalar
from emabench.spec.plain import shown

_RANGE = re.compile(r"(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})")
_LARGEST_RANGE = 100_000
_LARGEST_GRID = 100_000
_QUOTES = ('"', "'")


def expand_values(text: str, *, what: str, as_text: bool = False) -> list[Any]:
    """Return the values that ``none,full``, ``0..4`` or ``[0.2,1],[0.5,1]`` stand for.

    Commas inside brackets, braces or quotes belong to one value.

    Args:
        text: the values as they were typed.
        what: names the option or field in a message.
        as_text: keep each value as it was typed, without its quotes; only ``null`` is None.
            Otherwise it is read as YAML, and ranges are expanded.

    Raises:
        SpecError: a value is empty, or a range has no numbers or runs backwards.
    """
    values: list[Any] = []
    for part in _split(text):
        if not part:
            hint = "remove the spare comma" if "," in text else "give it a value, or leave it out"
            raise SpecError(f"{what}={shown(text)} has an empty value", hint=hint)
        if as_text and part[0] not in _QUOTES:
            values.append(None if part == "null" else part)
        elif ".." in part and not part.startswith(("[", "{", *_QUOTES)):
            values.extend(_range(part, what=what))
        else:
            values.append(parse_scalar(part, what=what))
    return values


def typed(value: Any, *, as_text: bool = False) -> str:
    """Write a value such that ``expand_values`` reads the same one back."""
    plain = json.dumps(value, ensure_ascii=False)
    if not as_text or not isinstance(value, str) or value == "null":
        return plain
    special = value[:1] in ("", *_QUOTES) or value != value.strip() or set(value) & set(",[]{}()")
    return plain if special else value


def product(axes: Sequence[tuple[str, list[Any]]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of the axes; the last axis runs fastest.

    Args:
        axes: pairs of a field path and its values. Of two axes with one path the later counts.

    Raises:
        SpecError: there are too many.
    """
    latest = dict(axes)
    points = math.prod(len(values) for values in latest.values())
    if points > _LARGEST_GRID:
        raise SpecError(
            f"{points} experiments are more than {_LARGEST_GRID}", hint="queue a part of the grid"
        )
    for combination in itertools.product(*latest.values()):
        yield dict(zip(latest, combination, strict=True))


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside brackets, braces and quoted values."""
    parts, depth, quote, escaped, start = [], 0, "", False, 0
    for position, letter in enumerate(text):
        if escaped:
            escaped = False
        elif quote:
            escaped = quote == '"' and letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and (depth > 0 or not text[start:position].strip()):
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth = max(0, depth - 1)
        elif letter == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def _range(part: str, *, what: str) -> range:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise SpecError(
            f"{what}={shown(part)} is not a range of whole numbers", hint="for example 0..4"
        )
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise SpecError(f"{what}={part!r} runs backwards", hint=f"write {last}..{first}")
    if last - first >= _LARGEST_RANGE:
        raise SpecError(
            f"{what}={part!r} has more than {_LARGEST_RANGE} values", hint="write a shorter range"
        )
    return range(first, last + 1)
