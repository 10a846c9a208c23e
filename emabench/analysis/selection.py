"""Which runs take part, in which arms they stand, and what is said of those left out.

Whoever shows runs asks ``select``, and filters nothing for itself. The conditions of the user
(``--where``, ``--name``, ``--study``, ``--state``) decide which runs ``select`` is given; of these
take part:

===================================  =======  ========  ========  ========
for                                  smoke    profiled  not done  repeated
===================================  =======  ========  ========  ========
compare and its gate, report,        --smoke  no        no        no
dashboard, plot, stability
plot, where runs are named by id     yes      yes       no        no
library.Runs.compare, likewise       yes      no        no        no
stability, where runs are named      yes      yes       yes       no
list                                 --smoke  yes       yes       yes
===================================  =======  ========  ========  ========

A profiled run shows neither cost nor accuracy unless it is named, for tracing slowed its steps. A
run is repeated where a newer one has its arm and seed. Collapsed runs take part like any other; a
caution names them. Separate evaluations and benches are no runs. ``show`` and ``diff`` take the
one or two runs that are named, of every kind, and so have nothing to ask. A run whose spec cannot
be read takes part in nothing but ``list``.

Runs of before and after a fix that changed their numbers stand in different arms; where it changed
figures of the evaluation alone, runs of before take part without these.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from emabench.analysis.arms import (
    TARGET_GRADIENT,
    Arm,
    arm_labels,
    differing_fields,
    fields_together,
    group,
    value_rank,
)
from emabench.analysis.factor import EMA_SCOPE, Factor
from emabench.errors import NotFoundError
from emabench.records import JobState, RunRecord
from emabench.spec.revisions import EVALUATION, changed_metrics, names_in
from emabench.table import counted

Purpose = Literal["compare", "draw"]
"""What the arms are for, in the words of the error that says that there are none."""
_ALL_OF_AN_EVALUATION = (
    "top1",
    "top5",
    "knn_top1",
    "knn_top5",
    "probe_weight_decay",
    "holdout_top1",
)
_JUDGED_ALIKE = ("evaluation.knn.", "evaluation.data.", "pretrain.data.")
"""Fields that decide, with the images, which changes concern an evaluation."""


@dataclass(frozen=True)
class LeftOut:
    """A run that does not take part.

    Attributes:
        run: the run.
        why: ``smoke``, ``unreadable``, ``profiled``, its state (``failed``, ``queued``…), or
            ``repeated``.
    """

    run: RunRecord
    why: str


@dataclass(frozen=True)
class Outdated:
    """The values of one metric that are left out.

    Attributes:
        metric: its name.
        revisions: what changed it in other runs that are evaluated alike.
        runs: those whose evaluation is of before.
    """

    metric: str
    revisions: tuple[str, ...]
    runs: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Arms:
    """The runs that take part, and those that do not.

    Attributes:
        arms: in the order in which they are shown, each with its label.
        runs: all that take part, arm by arm.
        differing: the fields in which the arms differ, beside method and scope.
        left_out: the others: smoke runs, unreadable ones, those that are not done, profiled ones,
            repeated ones.
        notes: a line for each kind of these.
        outdated: the figures that the runs have no more.
        together: which fields change together, of which labels name one, a line each.
    """

    arms: tuple[Arm, ...]
    runs: tuple[RunRecord, ...]
    differing: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    outdated: tuple[Outdated, ...] = ()
    together: tuple[str, ...] = ()


def select(
    runs: Sequence[RunRecord],
    *,
    smoke: bool,
    profiled: bool = False,
    unfinished: bool = False,
    repeated: bool = False,
    by: Factor = EMA_SCOPE,
    to: Purpose | None = None,
) -> Arms:
    """Choose the runs that take part, and put them into arms.

    Args:
        runs: of any state, newest last.
        smoke: whether smoke runs take part.
        profiled: whether profiled runs do.
        unfinished: whether runs do that are not done, be it because they failed.
        repeated: whether of several runs with one seed all do, and unreadable ones; then they
            stand in no arms, and in the order in which they were given.
        by: the factor whose values are compared; it decides on the order last.
        to: what for; None takes no runs for an answer.

    Raises:
        NotFoundError: no run is left to compare or to draw.
    """
    left_out, chosen = [], []
    for run in runs:
        if run.smoke and not smoke:
            left_out.append(LeftOut(run, "smoke"))
        elif run.unreadable is not None and not repeated:
            left_out.append(LeftOut(run, "unreadable"))
        elif run.state is not JobState.DONE and not unfinished:
            left_out.append(LeftOut(run, run.state.value))
        elif run.is_profiled and not profiled:
            left_out.append(LeftOut(run, "profiled"))
        else:
            chosen.append(run)
    left_out.sort(key=lambda each: {"smoke": 0, "profiled": 2}.get(each.why, 1))
    others = Counter(each.why for each in left_out if each.why != "smoke")
    counts = ", ".join(f"{count} {why}" for why, count in sorted(others.items()))
    if not chosen and to is not None:
        raise _nothing(to, left_out, counts)
    notes = [f"{counts} left out"] if counts else []
    if smokes := sum(each.why == "smoke" for each in left_out):
        notes.append(f"{counted(smokes, 'smoke run')} left out, see --smoke")
    if repeated:
        return Arms((), tuple(chosen), (), tuple(left_out), tuple(notes))
    arms, outdated = _without_outdated(group(chosen, by.fields_of))
    shown = {run.id for arm in arms for run in arm.runs.values()}
    repeats = [LeftOut(run, "repeated") for run in chosen if run.id not in shown]
    if repeats:
        notes.append(
            f"{counted(len(repeats), 'repeated run')} left out: the newest of each seed counts"
        )
    differing = differing_fields(arms)
    arms.sort(key=lambda arm: _place(arm, differing, by))
    labels = arm_labels(arms, differing)
    return Arms(
        tuple(replace(arm, label=label) for arm, label in zip(arms, labels, strict=True)),
        tuple(run for arm in arms for run in arm.runs.values()),
        tuple(differing),
        (*left_out, *repeats),
        tuple(notes),
        outdated,
        tuple(fields_together(arms, differing)),
    )


def _without_outdated(arms: Sequence[Arm]) -> tuple[list[Arm], tuple[Outdated, ...]]:
    """Leave out what an evaluation gave before it was mended, where others are of after it.

    Args:
        arms: all that are looked at together.

    Returns:
        The arms, and what their runs lack now.
    """
    likenesses = [_likeness(arm) for arm in arms]
    names = [
        {seed: names_in(run.identity, EVALUATION) for seed, run in arm.runs.items()} for arm in arms
    ]
    newest: dict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
    for likeness, of_arm in zip(likenesses, names, strict=True):
        newest[likeness].update(*set(of_arm.values()))
    if not any(newest.values()):
        return list(arms), ()
    found: dict[tuple[str, tuple[str, ...]], list[RunRecord]] = defaultdict(list)
    left = []
    for arm, likeness, of_arm in zip(arms, likenesses, names, strict=True):
        later = {own: newest[likeness].difference(own) for own in set(of_arm.values())}
        runs = dict(arm.runs)
        for seed, own in of_arm.items():
            if not later[own]:
                continue
            run = runs[seed]
            lost: dict[str, list[str]] = defaultdict(list)
            for name in sorted(later[own]):
                for metric in changed_metrics(name) or _ALL_OF_AN_EVALUATION:
                    if metric in run.results:
                        lost[metric].append(name)
            for metric, revisions in lost.items():
                found[metric, tuple(revisions)].append(run)
            if lost:
                kept = {name: value for name, value in run.results.items() if name not in lost}
                runs[seed] = replace(run, results=kept)
        left.append(replace(arm, runs=runs))
    return left, tuple(Outdated(*key, tuple(runs)) for key, runs in found.items())


def _likeness(arm: Arm) -> frozenset[tuple[str, str]]:
    return frozenset(
        (path, text)
        for path, text in arm.texts.items()
        if path in ("data", "evaluation_data") or path.startswith(_JUDGED_ALIKE)
    )


def _place(arm: Arm, differing: Sequence[str], by: Factor) -> tuple[Any, ...]:
    """Return a key that sorts arms by method, other fields, EMA scope, and value of the factor."""
    last = (by.path, TARGET_GRADIENT)
    others = tuple(value_rank(arm.fields.get(path)) for path in differing if path not in last)
    value = value_rank(by.value(arm.fields))
    gradient = str(arm.fields.get(TARGET_GRADIENT))
    return arm.method, others, value_rank(arm.scope), value, gradient, arm.before


def _nothing(to: Purpose, left_out: Sequence[LeftOut], counts: str) -> NotFoundError:
    """Return the error that says why no run is left, and what to do."""
    kinds = {each.why for each in left_out}
    drawn = to == "draw"
    hint = "emabench list shows the runs and their states"
    if not kinds:
        why, hint = "no run matches", "emabench run makes one; loosen --where, --name"
    elif kinds == {"smoke"}:
        why = (
            f"{counted(len(left_out), 'smoke run')} left out"
            if drawn
            else "only smoke runs left out"
        )
        hint = f"--smoke {'takes' if drawn else 'compares'} them too"
    elif kinds <= {"smoke", "profiled"}:
        why, hint = "only profiled runs left out", "run them without --profile"
    elif kinds <= {"smoke", "unreadable"}:
        why = f"{counts} left out"
        hint = "emabench list shows them, and emabench db check what is wrong with them"
    elif drawn:
        why = f"no run is done, {counts}"
    else:
        why = f"{counts} left out, no run is done"
        if kinds <= {"smoke", "failed"}:
            hint = "emabench logs says why; emabench retry --failed tries again"
        elif kinds <= {"smoke", "queued"}:
            hint = "emabench work runs what is queued; emabench list shows it"
    return NotFoundError(f"nothing to {to}: {why}", hint=hint)
