"""The arms that a picture shows: finished runs, grouped, sorted, labelled, and their source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.analysis.arms import (
    SCOPE,
    TARGET_GRADIENT,
    Arm,
    arm_label,
    differing_fields,
    group,
    value_rank,
)
from emabench.analysis.cautions import Caution, collapsed_runs, mixed_environments
from emabench.errors import NotFoundError
from emabench.records import JobState, RunRecord
from emabench.version import __version__


@dataclass(frozen=True)
class ShownArm:
    """One arm with the label that tells it from the others."""

    label: str
    arm: Arm

    @property
    def runs(self) -> Mapping[int, RunRecord]:
        """The runs by seed."""
        return self.arm.runs


@dataclass(frozen=True)
class Chosen:
    """Arms in the order in which they are shown, and lines about what was left out."""

    arms: tuple[ShownArm, ...]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> list[RunRecord]:
        """All runs that are shown."""
        return [run for arm in self.arms for run in arm.runs.values()]

    @property
    def differing(self) -> list[str]:
        """The fields in which the arms differ, beside method and scope."""
        return differing_fields([shown.arm for shown in self.arms])


def choose_arms(runs: Sequence[RunRecord], *, smoke: bool = False) -> Chosen:
    """Return the finished runs as arms, each with a label.

    Args:
        runs: runs of any state, newest last; of several with one seed the newest counts.
        smoke: whether smoke runs are shown.

    Raises:
        NotFoundError: no run is left to show.
    """
    wanted = [run for run in runs if smoke or not run.smoke]
    done = [run for run in wanted if run.state is JobState.DONE]
    others = Counter(run.state.value for run in wanted if run.state is not JobState.DONE)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
    if not done:
        raise _nothing(len(runs) - len(wanted), counts)
    arms, repeats = group(done)
    notes = [f"{counts} left out"] if counts else []
    if repeats:
        notes.append(f"{repeats} repeated runs left out: of each seed the newest counts")
    differing = differing_fields(arms)
    arms.sort(key=lambda arm: _order(arm, differing))
    shown = [ShownArm(arm_label(arm, arms, differing), arm) for arm in arms]
    return Chosen(tuple(shown), tuple(notes))


def source_line(runs: Sequence[RunRecord], store: str, choice: Iterable[str] = ()) -> str:
    """Return where the figures of a picture come from: store, choice, n, machine and versions.

    Args:
        runs: those that are shown.
        store: its label, without a password.
        choice: how they were chosen, for example ``study which-block``.
    """
    places = Counter(place for run in runs if (place := _place(run)))
    commits = sorted({commit for run in runs if (commit := _commit(run))})
    parts = [
        ", ".join([store, *choice]),
        "1 run" if len(runs) == 1 else f"{len(runs)} runs",
        *_shortened(list(places)),
        *_shortened([f"commit {commit}" for commit in commits]),
        f"drawn by emabench {__version__}",
    ]
    return "source: " + " · ".join(parts)


def cautions_of(runs: Sequence[RunRecord], *, with_costs: bool) -> list[Caution]:
    """Return what the reader of a picture must know: collapsed runs, unlike machines or versions.

    Args:
        runs: those that are shown.
        with_costs: whether times are shown.
    """
    found = collapsed_runs(runs)
    return found + mixed_environments([runs], with_costs=with_costs, factor=SCOPE)


def _order(arm: Arm, differing: Iterable[str]) -> tuple[Any, ...]:
    paths = [path for path in differing if path != TARGET_GRADIENT]
    others = tuple(value_rank(arm.fields.get(path)) for path in paths)
    return arm.method, others, value_rank(arm.scope), str(arm.fields.get(TARGET_GRADIENT))


def _nothing(smoke_runs: int, counts: str) -> NotFoundError:
    """Return the error that says why no run is left, and what to do."""
    if counts:
        return NotFoundError(
            f"nothing to draw: no run is done, {counts}",
            hint="emabench list shows the runs and their states",
        )
    if smoke_runs:
        return NotFoundError(
            f"nothing to draw: {smoke_runs} smoke runs left out", hint="--smoke takes them too"
        )
    return NotFoundError(
        "nothing to draw: no run fits", hint="emabench run makes one; loosen --where, --name"
    )


def _place(run: RunRecord) -> str | None:
    where = run.environment
    if where is None:
        return None
    threads = f"{where.threads} thread" + ("" if where.threads == 1 else "s")
    compiled = ", compiled" if where.compiled else ""
    return f"{where.device}, {where.precision}, {threads}{compiled}"


def _commit(run: RunRecord) -> str | None:
    where = run.environment
    if where is None or where.commit is None:
        return None
    return where.commit[:7] + ("+" if where.dirty else "")


def _shortened(names: Sequence[str], most: int = 2) -> list[str]:
    """Return the first of many names, and how many more there are."""
    rest = len(names) - most
    return list(names) if rest <= 0 else [*names[:most], f"and {rest} more"]
