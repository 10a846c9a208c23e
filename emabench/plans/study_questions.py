"""The questions of a study: which arm is compared with which, and the planned runs of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from emabench.analysis.arms import Arm
from emabench.analysis.baseline import Baselines, baseline_value, reference_arm
from emabench.analysis.cautions import Caution
from emabench.analysis.factor import Factor
from emabench.analysis.looking.looks import USUAL_LOOKS, Looks, plan_looks
from emabench.analysis.question import Asked, Question
from emabench.analysis.selection import select
from emabench.errors import UsageError
from emabench.records import JobState, PlannedRun, RunRecord
from emabench.spec.paths import SHORT_NAMES, field_value
from emabench.spec.study import BudgetSpec, Study
from emabench.table import counted, show_value


@dataclass(frozen=True)
class StudyQuestion:
    """One comparison that a study asks for.

    Attributes:
        label: of the arm, as a comparison of the whole study has it.
        arm: its planned runs by seed.
        reference: those of the arm that it is compared with.
    """

    label: str
    arm: Mapping[int, PlannedRun]
    reference: Mapping[int, PlannedRun]

    def runs(self, seeds: Iterable[int]) -> list[PlannedRun]:
        """Return the runs that some seeds of the question need, pair by pair."""
        return [each[seed] for seed in seeds for each in (self.reference, self.arm)]


def study_questions(study: Study, plans: Sequence[PlannedRun]) -> list[StudyQuestion]:
    """Return the questions of a study, in the order in which a comparison shows the arms.

    Args:
        study: the study.
        plans: its resolved runs, each once.

    Raises:
        UsageError: nothing in it is compared with anything.
    """
    by_id = {plan.fingerprint: plan for plan in plans}
    factor = Factor.parse(study.spec.by, study.spec.along)
    arms = select([_as_done(plan) for plan in plans], smoke=True, by=factor).arms
    value = baseline_value(arms, show_value(study.spec.baseline), factor)
    baselines, unused = Baselines(arms, value, factor), list[Caution]()

    def runs_of(arm: Arm) -> dict[int, PlannedRun]:
        return {seed: by_id[run.id] for seed, run in arm.runs.items()}

    found = [
        StudyQuestion(arm.label, runs_of(arm), runs_of(reference))
        for arm in arms
        if (reference := reference_arm(arm, baselines, unused)) is not None
    ]
    if not found:
        raise UsageError(
            f"the study {study.name} compares no arm with {study.spec.by} {study.spec.baseline}",
            hint="'emabench studies show' lists its arms",
        )
    return found


def question_of(study: Study) -> Question:
    """Return what a study asks, complete, as ``emabench compare`` would be asked."""
    spec = study.spec
    asked = Asked(
        metric=",".join(spec.metrics),
        by=spec.by,
        baseline=show_value(spec.baseline),
        margin=spec.margin,
        along=spec.along,
    )
    return Question.settle(asked, study.name)


def planned_looks(budget: BudgetSpec, seeds: Sequence[int] | None) -> tuple[Looks, list[int]]:
    """Return the looks of a study of some size, and the seeds in the order in which it takes them.

    Args:
        budget: says at how many pairs it looks; else at the usual numbers.
        seeds: that the user asks for, each of which counts once; None is those of the budget and,
            if they are too few for all looks, the numbers that follow.

    Raises:
        UsageError: the seeds are too few for the first look.
    """
    pairs = tuple(budget.looks or USUAL_LOOKS)
    if seeds is not None:
        read = (field_value(SHORT_NAMES["seed"], each, what="--seed") for each in seeds)
        seeds = list(dict.fromkeys(read))
    else:
        seeds = list(budget.seeds)
        more = range(max(seeds) + 1, max(seeds) + 1 + pairs[-1])
        seeds = [*seeds, *more][: pairs[-1]]
    enough = tuple(n for n in pairs if n <= len(seeds))
    if not enough:
        raise UsageError(
            f"the first look is at {pairs[0]} pairs, too many for {counted(len(seeds), 'seed')}",
            hint=f"for example --seed 0..{pairs[-1] - 1}",
        )
    return plan_looks(enough), list(seeds[: enough[-1]])


def study_terms(
    study: Study, questions: Sequence[StudyQuestion], seeds: Sequence[int]
) -> dict[str, object]:
    """Return what a study asks, for the store to keep beside its looks.

    Args:
        study: the study.
        questions: that it asks.
        seeds: that it may take, in their order.
    """
    spec = study.spec
    return {
        "metrics": list(spec.metrics),
        "margin": dict(spec.margin),
        "by": spec.by,
        "along": list(spec.along),
        "baseline": spec.baseline,
        "arms": [each.label for each in questions],
        "questions": len(questions),
        "seeds": list(seeds),
    }


def _as_done(plan: PlannedRun) -> RunRecord:
    return RunRecord(
        id=plan.fingerprint,
        name=plan.name,
        smoke=plan.smoke,
        command=plan.command,
        state=JobState.DONE,
        spec=plan.spec,
        identity=plan.identity,
        fingerprint=plan.fingerprint,
        created_at=datetime.now(UTC),
    )
