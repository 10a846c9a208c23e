"""Runs the commands of a page, one after the other, as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from changes import CHANGES, Change
from place import Prepared
from programs import in_pipe, on_terminal
from shown import Shown

_PATIENCE = 300
"""Seconds after which a command hangs."""


def changes_of(shown: Shown) -> list[Change]:
    """Return what is different about a command."""
    return [each for each in CHANGES if re.search(each.pattern, f"{shown.page}: {shown.text}")]


def executed(shown: Shown, changes: list[Change], ids: tuple[str, str]) -> str:
    """Return the command line in the form that is executed."""
    text = shown.text
    for change in changes:
        if change.replace is not None:
            text = re.sub(*change.replace, text)
    # What is appended goes before a redirection.
    line, arrow, target = text.partition(" > ")
    more = " ".join(change.append for change in changes if change.append)
    line = f"{line} {more}".strip() + arrow + target
    return line.replace("FIRST", ids[0]).replace("SECOND", ids[1])


class Page:
    """The folder of a page, and what its commands have exported.

    Args:
        folder: furnished.
        env: of every command.
        prepared: whose ids stand for those of the page.
        monkeypatch: for commands that run on a terminal or until Ctrl-C.
    """

    def __init__(
        self, folder: Path, env: dict[str, str], prepared: Prepared, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._folder, self._env, self._prepared = folder, dict(env), prepared
        self._monkeypatch = monkeypatch

    def run_all(self, commands: list[Shown], *, anywhere: bool = False) -> list[str]:
        """Run commands and return what went wrong, a text for each.

        Args:
            commands: in their order.
            anywhere: run those too that are executed elsewhere.
        """
        troubles = []
        for shown in commands:
            changes = changes_of(shown)
            if not anywhere and any(change.elsewhere for change in changes):
                continue
            line = executed(shown, changes, self._prepared.ids)
            allowed = {code for change in changes for code in change.codes} or {0}
            code, said = self._run(line, changes)
            if code not in allowed:
                troubles.append(f"{shown}\n  ran {line}\n  exit code {code}: {said[-800:]}")
        return troubles

    def _run(self, line: str, changes: list[Change]) -> tuple[int, str]:
        until = next((change.until for change in changes if change.until), "")
        answer = next((change.answer for change in changes if change.answer), "")
        if until or answer:
            return self._beside(shlex.split(line)[1:], until, answer)
        keeps = line.startswith(("export ", "set "))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{line}\nenv -0" if keeps else line],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        if keeps and done.returncode == 0:
            pairs = (each.partition("=") for each in done.stdout.split("\0") if "=" in each)
            self._env = {name: value for name, _, value in pairs}
        return done.returncode, done.stderr or done.stdout

    def _beside(self, words: list[str], until: str, answer: str) -> tuple[int, str]:
        """Run a command until Ctrl-C, or on a terminal; return 0 where it ends as it should."""
        with self._monkeypatch.context() as patch:
            patch.chdir(self._folder)
            for name in set(os.environ) - set(self._env):
                patch.delenv(name)
            for name, value in self._env.items():
                patch.setenv(name, value)
            if answer:
                with on_terminal(*words) as program:
                    program.wait_for("[y/N]")
                    program.type(f"{answer}\n")
                    return program.end(), program.text
            with in_pipe(*words) as program:
                program.wait_for(until)
                program.interrupt()
                code = program.end()
                return (0 if code == 130 else code or 1), program.text
