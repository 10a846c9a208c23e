"""YAML that means one thing: read strictly, and bounded in size, depth and length of numbers.

The words and numbers are those of version 1.2, as people and Python write them. Version 1.1 would
read ``1e-4`` as text, ``010`` as 8, ``1:30`` as 90, ``no`` as false and ``2020-01-01`` as a date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from emabench.spec.plain import DEEPEST, LONGEST_NUMBER, MOST_VALUES, shown

MOST_CHARACTERS = 100_000
"""Of one text: twenty complete specs."""

NOT_YAML = "is not valid YAML"

_TAG = "tag:yaml.org,2002:"
_HINT = "check indentation and colons, and quote text with special characters"


class YamlError(Exception):
    """A text that is no YAML, or says no one thing.

    Args:
        reason: why, without the place.
        line: the line, counted from 1, where it is known.
        hint: what to do about it.
    """

    def __init__(self, reason: str, line: int | None = None, *, hint: str = _HINT) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.hint = hint


def read_yaml(text: str, is_text: Callable[[str], bool] = lambda path: False) -> Any:
    """Read one YAML document into plain values.

    Args:
        text: the document; an empty one is None.
        is_text: says of the dotted path of a value whether it holds text: ``no``, ``2020`` and
            ``1e3`` are kept there as they were typed.

    Raises:
        YamlError: it is none.
    """
    if len(text) > MOST_CHARACTERS:
        raise YamlError(f"has more than {MOST_CHARACTERS} characters", hint="write a shorter one")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YamlError(NOT_YAML, None if mark is None else mark.line + 1) from None
    except yaml.YAMLError:  # the reader, which knows no lines
        raise YamlError("has a character that YAML does not allow", hint="remove it") from None
    return None if root is None else _Values(is_text).of(root, ())


class _Loader(yaml.SafeLoader):
    """Composes nodes: not too many, not too deep, and none with a tag."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # replaces those of version 1.1

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, "!", f"{_TAG}str"):
            hint = "write plain values, no tags"
            raise _error(f"has the tag {shown(event.tag)}", event, hint=hint)
        self._depth += 1
        self._nodes += 1
        _check_bounds(self._nodes, self._depth, event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\d[\d_]*\.\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\d[\d_]*[eE][-+]?\d+",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})\Z", re.ASCII), _first)


class _Values:
    """Turns nodes into values; an alias counts as often as it is used."""

    def __init__(self, is_text: Callable[[str], bool]) -> None:
        self._is_text = is_text
        self._values = 0

    def of(self, node: Node, path: tuple[str, ...]) -> Any:
        """Return the value of a node at a path."""
        return self._value(node, path, 0)

    def _value(self, node: Node, path: tuple[str, ...], depth: int) -> Any:
        self._values += 1
        _check_bounds(self._values, depth, node)
        if isinstance(node, SequenceNode):
            return [self._value(inner, path, depth + 1) for inner in node.value]
        if isinstance(node, MappingNode):
            return self._mapping(node, path, depth)
        if path and self._is_text(".".join(path)) and node.tag != f"{_TAG}null":
            return node.value
        return _scalar(node)

    def _mapping(self, node: MappingNode, path: tuple[str, ...], depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen = set()
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _error("has a list or a mapping as a key", key)
            if key.value in seen:
                hint = "keep one of the two"
                raise _error(f"has the key {shown(key.value)} twice", key, hint=hint)
            seen.add(key.value)
            if key.tag == f"{_TAG}merge":
                merged = self._merged(value, path, depth + 1)
            else:
                own[key.value] = self._value(value, (*path, key.value), depth + 1)
        return merged | own

    def _merged(self, node: Node, path: tuple[str, ...], depth: int) -> dict[str, Any]:
        """Return what ``<<`` merges; of two mappings the earlier one wins."""
        result: dict[str, Any] = {}
        for each in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(each, MappingNode):
                raise _error("merges what is not a mapping", node, hint="write <<: *anchor")
            result = self._value(each, path, depth) | result
        return result


def _scalar(node: Node) -> Any:
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind in ("int", "float"):
        if len(text) > LONGEST_NUMBER:
            raise _error(f"has a number of {len(text)} characters", node, hint="write it shorter")
        digits = text.replace("_", "")
        return int(digits) if kind == "int" else float(digits)
    if kind == "merge":
        raise _error("has a '<<' that is not a key", node)
    return text


def _check_bounds(values: int, depth: int, at: Any) -> None:
    if depth > DEEPEST:
        raise _error(f"is nested deeper than {DEEPEST} levels", at, hint="write it flatter")
    if values > MOST_VALUES:
        raise _error(f"holds more than {MOST_VALUES} values", at, hint="write fewer, or less often")


def _error(reason: str, at: Any, *, hint: str = _HINT) -> YamlError:
    return YamlError(reason, at.start_mark.line + 1, hint=hint)
