"""Neutral names for what tells where a run was made: hosts, users, paths and addresses.

Each gets a number, and the same one wherever it appears, so that what was told apart stays so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"`<>|]+")
_ROOT = r"(?:~[\w.-]*[/\\]|[A-Za-z]:[/\\]|\\\\|/)"
"""How a path begins that means the same from every folder: also a home, a drive, a share."""
_QUOTED = re.compile(rf"(?<=(['\"`]))({_ROOT}[^'\"`\n]+)(?=\1)")
_BARE = re.compile(rf"(?<![\w.~/\\-]){_ROOT}[^\s'\"`,;:()\[\]{{}}<>|]+")
_ABSOLUTE = re.compile(rf"{_ROOT}[^\n]*|{_URL.pattern}")
_HOME = re.compile(r"[/\\](?:home|Users)[/\\]+([^/\\\s'\"`,;:()]+)")
_PROCESS = re.compile(r"\b(pid|process)([ =:]+)\d+", re.IGNORECASE)
_NOBODY = {"root", "user", "users", "localhost"}
"""Names that tell nothing, and that texts use as words."""
_SHORTEST = 3
"""Letters of a user's name that is looked for in texts: a shorter one would be part of anything."""


class NeutralNames:
    """Gives neutral names; every name has to be known before the first text is changed."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._short_hosts: dict[str, str] = {}
        self._users: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._literal: dict[str, str] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many different ones there were, by ``hosts``, ``users`` and ``paths``."""
        known = {"hosts": self._hosts, "users": self._users, "paths": self._paths}
        return {what: len(names) for what, names in known.items()}

    def learn_host(self, name: str) -> None:
        """Know a host by its name; a text may name it by the first part of that."""
        neutral = self._hosts.setdefault(name, f"host-{len(self._hosts) + 1}")
        self._short_hosts.setdefault(name.partition(".")[0], neutral)

    def learn_user(self, name: str) -> None:
        """Know a user by name."""
        if len(name) >= _SHORTEST and name not in _NOBODY:
            self._users.setdefault(name, f"user-{len(self._users) + 1}")

    def learn_text(self, text: str) -> None:
        """Know the users whose homes a text names."""
        for name in _HOME.findall(text):
            self.learn_user(name)

    def learn_value(self, value: str) -> None:
        """Know a value that is a path as a whole; a text may name it with its spaces."""
        self.learn_text(value)
        if _ABSOLUTE.fullmatch(value):
            self._literal[value] = self._path(value)

    def host(self, name: str) -> str:
        """Return the neutral name of a host."""
        self.learn_host(name)
        return self._hosts[name]

    def value(self, value: str) -> str:
        """Return the neutral name of a value that is a path as a whole; any other as it is."""
        return self._path(value) if _ABSOLUTE.fullmatch(value) else value

    def text(self, text: str) -> str:
        """Return a text with all names replaced by neutral ones, and numbers of processes by 0."""
        text = _replaced(text, self._literal, before=r"(?<![\w./\\-])", after=r"(?![\w./\\-])")
        for pattern in (_URL, _QUOTED, _BARE):
            text = pattern.sub(lambda found: self._path(found[0]), text)
        for names in (self._short_hosts | self._hosts, self._users):
            text = _replaced(text, names, before=r"(?<![\w-])", after=r"(?![\w-])")
        return _PROCESS.sub(r"\g<1>\g<2>0", text)

    def _path(self, path: str) -> str:
        whole = path.rstrip(".")
        neutral = self._paths.setdefault(whole, f"path-{len(self._paths) + 1}")
        return neutral + path[len(whole) :]


def _replaced(text: str, names: dict[str, str], *, before: str, after: str) -> str:
    """Replace names by neutral ones, the longest first, where nothing goes on before or after."""
    if not names:
        return text
    pattern = f"{before}(?:{'|'.join(map(re.escape, _longest_first(names)))}){after}"
    return re.sub(pattern, lambda found: names[found[0]], text)


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=len, reverse=True)
