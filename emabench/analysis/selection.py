"""Which runs take part in a comparison, and what is said about the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from emabench.errors import NotFoundError
from emabench.records import JobState, RunRecord


@dataclass(frozen=True)
class LeftOut:
    """A run that does not take part.

    Attributes:
        run: the run.
        why: ``smoke``, ``profiled``, its state (``failed``, ``queued``…), or ``repeated``.
    """

    run: RunRecord
    why: str


@dataclass(frozen=True)
class Selection:
    """The finished runs, those left out, and notes on these."""

    runs: tuple[RunRecord, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def select(runs: Sequence[RunRecord], *, smoke: bool) -> Selection:
    """Choose the finished runs, but for those that were profiled: tracing slowed their steps.

    Args:
        runs: of any state, newest last.
        smoke: whether smoke runs take part.

    Raises:
        NotFoundError: no run is left.
    """
    wanted = [run for run in runs if smoke or not run.smoke]
    done = [run for run in wanted if run.state is JobState.DONE and not run.is_profiled]
    left_out = [LeftOut(run, "smoke") for run in runs if run.smoke and not smoke]
    left_out += [LeftOut(run, run.state.value) for run in wanted if run.state is not JobState.DONE]
    left_out += [
        LeftOut(run, "profiled") for run in wanted if run.state is JobState.DONE and run.is_profiled
    ]
    notes = []
    others = Counter(each.why for each in left_out if each.why != "smoke")
    if others:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
        notes.append(f"{counts} left out")
    if smokes := len(runs) - len(wanted):
        notes.append(f"{smokes} smoke {'run' if smokes == 1 else 'runs'} left out, see --smoke")
    if not done:
        raise _nothing(runs, wanted, notes)
    return Selection(tuple(done), tuple(left_out), tuple(notes))


def _nothing(
    runs: Sequence[RunRecord], wanted: Sequence[RunRecord], notes: Sequence[str]
) -> NotFoundError:
    if not runs:
        return NotFoundError(
            "nothing to compare: no run fits", hint="emabench run makes one; loosen --where, --name"
        )
    if not wanted:
        return NotFoundError(
            "nothing to compare: only smoke runs left out", hint="--smoke compares them too"
        )
    states = {run.state for run in wanted}
    if states == {JobState.DONE}:
        return NotFoundError(
            "nothing to compare: only profiled runs left out", hint="run them without --profile"
        )
    hint = "emabench list shows the runs and their states"
    if states == {JobState.FAILED}:
        hint = "emabench logs tells why; emabench retry --failed tries again"
    elif states == {JobState.QUEUED}:
        hint = "emabench work runs what is queued; emabench list shows it"
    return NotFoundError(f"nothing to compare: {notes[0]}, no run is done", hint=hint)
