"""Which runs a list shows, and what it says about the others."""

from __future__ import annotations

from collections.abc import Sequence

from emabench.errors import UnknownNameError
from emabench.records import JobState, RunRecord


def choose_runs(
    runs: Sequence[RunRecord],
    *,
    state: str | None,
    smoke: bool,
    limit: int | None,
    what: str = "run",
) -> tuple[list[RunRecord], list[str]]:
    """Return the runs to show, newest last, and lines about what is missing.

    Args:
        runs: newest last.
        state: only runs in this state.
        smoke: whether smoke runs are shown.
        limit: at most so many, the newest.
        what: what they are: ``run`` or ``evaluation``.

    Raises:
        UnknownNameError: there is no such state.
    """
    states = [word.value for word in JobState]
    if state is not None and state not in states:
        raise UnknownNameError("state", state, states)
    fitting = [run for run in runs if state is None or run.state == state]
    shown = [run for run in fitting if smoke or not run.smoke]
    hidden = len(fitting) - len(shown)
    notes = []
    if not shown:
        notes.append(f"no {what}s")
    if hidden:
        notes.append(f"hint: {hidden} smoke {what}s left out; --smoke lists them too")
    elif not runs:
        command = "run" if what == "run" else "eval"
        notes.append(f"hint: emabench {command} makes one; --where may be too narrow")
    elif not shown:
        notes.append(f"hint: no {what} is {state}; emabench list shows all")
    return shown if limit is None else shown[-limit:], notes
