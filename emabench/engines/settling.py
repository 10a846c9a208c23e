"""A study look by look: seeds only for arms that an open question needs, until all are settled.

Nothing is remembered between the looks but what the store holds, so whoever starts again after a
stop or a kill takes the same decisions, finds the same runs, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from emabench.analysis.looking.said_of_looks import devices_of, is_decided, look_taken
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.pace import TimeEstimate, estimate_time
from emabench.analysis.question import Question
from emabench.errors import EmabenchError, NotFoundError
from emabench.plans.study_questions import StudyQuestion
from emabench.records import (
    JobState,
    PlannedRun,
    QueuedRun,
    RunQuery,
    RunRecord,
    StudyLooks,
    StudyPlan,
)
from emabench.store.run_store import RunStore

Work = Callable[[Sequence[QueuedRun]], None]
"""Has the jobs of runs worked on, and returns when there is nothing more that it can do."""


@dataclass(frozen=True)
class StudyLook:
    """What one look at a study shows.

    Attributes:
        number: counts the planned looks, from 1.
        of: how many are planned.
        pairs: at which it is taken.
        decided: verdict in words by the label of each question that is decided, at this look or
            before.
        open: labels of those that are not; more seeds may decide them.
        stuck: labels of those whose runs failed, with the reason of the first; seeds that fail are
            not replaced by others.
        waiting: runs that somebody else has yet to work on; the look is not taken then.
        rest: time of the runs that the open questions may still take, up to the last look.
        queued: runs that were queued for this look and had not been there.
    """

    number: int
    of: int
    pairs: int
    decided: dict[str, str]
    open: tuple[str, ...]
    stuck: dict[str, str]
    waiting: int
    rest: TimeEstimate
    queued: int


def settle(
    store: RunStore,
    questions: Sequence[StudyQuestion],
    *,
    question: Question,
    plan: StudyPlan,
    seeds: Sequence[int],
    add: Callable[[Sequence[PlannedRun]], list[QueuedRun]],
    work: Work,
) -> Iterator[StudyLook]:
    """Queue and work look by look, and yield what each look shows; the store records every one.

    Args:
        store: open for writing.
        questions: of the study.
        question: what is asked of its runs.
        plan: its looks, as the store keeps them.
        seeds: in the order in which they are taken.
        add: queues runs; those that exist are found.
        work: see ``Work``.

    Raises:
        EmabenchError: runs of the study were trained on unlike kinds of hardware.
    """
    decided: dict[str, str] = {}
    stuck: dict[str, str] = {}
    ids: dict[str, str] = {}
    for place, pairs in enumerate(plan.pairs):
        asked = [q for q in questions if q.label not in decided and q.label not in stuck]
        if not asked:
            return
        needed = {p.fingerprint: p for q in asked for p in q.runs(seeds[:pairs])}
        ordered = sorted(needed.values(), key=lambda p: seeds.index(p.spec["pretrain"]["seed"]))
        runs = add(ordered)
        ids |= {p.fingerprint: run.id for p, run in zip(ordered, runs, strict=True)}
        work(runs)
        records = {run.id: run for run in store.runs(RunQuery(ids=tuple(ids.values())))}
        waiting = sum(not records[run.id].state.is_finished for run in runs)
        if not waiting:
            _check_hardware(records.values())
            for each in asked:
                reason = _failure(each, seeds[:pairs], ids, records)
                if reason is not None:
                    stuck[each.label] = reason
            shown = [q for q in asked if q.label not in stuck]
            decided |= _look(store, shown, question, plan, seeds[:pairs], ids)
        still = [q for q in questions if q.label not in decided and q.label not in stuck]
        yield StudyLook(
            place + 1,
            len(plan.pairs),
            pairs,
            dict(decided),
            tuple(q.label for q in still),
            dict(stuck),
            waiting,
            _rest(store, still, seeds[: plan.pairs[-1]]),
            sum(not run.existed for run in runs),
        )
        if waiting:
            return


def _look(
    store: RunStore,
    asked: Sequence[StudyQuestion],
    question: Question,
    plan: StudyPlan,
    seeds: Sequence[int],
    ids: dict[str, str],
) -> dict[str, str]:
    """Look at some questions at their first pairs alone, record it, and return who is decided."""
    mine = {p.fingerprint for q in asked for p in q.runs(seeds)}
    wanted = dict.fromkeys(ids[each] for each in mine)
    if not wanted:
        return {}
    stored = store.read(RunQuery(ids=tuple(wanted)), question.wanted())
    try:
        found = replace(question, study=plan.study).answer(
            sorted(stored.runs, key=lambda run: run.created_at),
            MetricValues.of(stored.values),
            smoke=True,
            looks=StudyLooks((plan,)),
        )
    except NotFoundError:  # no run has any of the metrics
        return {}
    metric = found.metrics[0]
    labels = {ids[q.arm[seed].fingerprint]: q.label for q in asked for seed in seeds}
    decided = {}
    renamed = []
    for row in found.rows:
        label = next((labels[run.id] for run in row.runs if run.id in labels), None)
        cell = row.metrics[metric.name]
        renamed.append(replace(row, label=label or row.label))
        if label is not None and cell.baseline is not None and is_decided(cell.verdict):
            decided[label] = cell.words or ""
    pairs, verdicts = look_taken(replace(found, rows=tuple(renamed)))
    store.note_look(
        plan.study, smoke=plan.smoke, taken_by="studies run", pairs=pairs, verdicts=verdicts
    )
    return decided


def _failure(
    question: StudyQuestion,
    seeds: Sequence[int],
    ids: dict[str, str],
    records: dict[str, RunRecord],
) -> str | None:
    """Return why a question cannot be looked at: one of its runs failed, or was cancelled."""
    for plan in question.runs(seeds):
        run = records[ids[plan.fingerprint]]
        if run.state is not JobState.DONE:
            reason = next((job.reason for job in run.jobs if job.reason), None)
            return f"{run.title} {run.state.value}{f': {reason}' if reason else ''}"
    return None


def _check_hardware(runs: Iterable[RunRecord]) -> None:
    kinds = devices_of(runs)
    if len(kinds) > 1:
        raise mixed_hardware(kinds)


def mixed_hardware(kinds: set[str]) -> EmabenchError:
    """Return the error that says that a study would mix, or mixes, kinds of hardware."""
    return EmabenchError(
        f"arms of one study do not mix kinds of hardware: {', '.join(sorted(kinds))}",
        hint="finish it where it began, or begin it anew in a store of its own, with --db: in this "
        "one its runs are found",
    )


def _rest(
    store: RunStore, questions: Sequence[StudyQuestion], seeds: Sequence[int]
) -> TimeEstimate:
    plans = {p.fingerprint: p for q in questions for p in q.runs(seeds)}
    return estimate_time(list(plans.values()), store.runs(RunQuery(smoke=True)))
