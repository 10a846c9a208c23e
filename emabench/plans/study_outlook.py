"""What a study that looks as planned will take, and how likely each of its questions is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emabench.analysis.comparison import ArmComparison
from emabench.analysis.looking.chances import PairSpread, chances
from emabench.analysis.looking.looks import Looks
from emabench.analysis.pace import TimeEstimate, estimate_time
from emabench.analysis.statistics import more_seeds
from emabench.plans.study_questions import StudyQuestion
from emabench.records import RunRecord

FAIR = 0.5
"""A question that is decided less often than this is better not asked so."""


@dataclass(frozen=True)
class LookOutlook:
    """What a study takes up to one of its looks, if every question stays open until then.

    Attributes:
        pairs: at which it looks.
        level: of the interval.
        runs: in all.
        rest: of these, the runs that are not done yet, and their time.
    """

    pairs: int
    level: float
    runs: int
    rest: TimeEstimate


@dataclass(frozen=True)
class QuestionOutlook:
    """How likely one question is decided.

    Attributes:
        label: of the arm.
        spread: of the paired differences.
        is_own: whether the spread was measured on this question, or for it.
        by_look: chance of a verdict by each look.
        lowest: chance by the last look at the widest spread that the data allow.
        highest: at the narrowest.
        pairs_needed: fixed pairs for a chance of 80 %, where the last look has less than even odds;
            None where it is not needed, or where 1000 would not do.
    """

    label: str
    spread: PairSpread
    is_own: bool
    by_look: tuple[float, ...]
    lowest: float
    highest: float
    pairs_needed: int | None

    @property
    def is_hopeless(self) -> bool:
        """Whether the question will more likely than not stay open."""
        return self.by_look[-1] < FAIR


def look_outlooks(
    questions: Sequence[StudyQuestion],
    looks: Looks,
    seeds: Sequence[int],
    earlier: Sequence[RunRecord],
) -> list[LookOutlook]:
    """Return what each look takes.

    Args:
        questions: of the study.
        looks: as planned.
        seeds: in the order in which they are taken.
        earlier: runs of the store, to judge the time by.
    """
    found = []
    for pairs, level in zip(looks.pairs, looks.levels, strict=True):
        plans = {p.fingerprint: p for q in questions for p in q.runs(seeds[:pairs])}
        rest = estimate_time(list(plans.values()), earlier)
        found.append(LookOutlook(pairs, level, len(plans), rest))
    return found


def question_outlooks(
    labels: Sequence[str],
    looks: Looks,
    *,
    margin: float,
    truth: float,
    stated: float | None,
    measured: Mapping[str, PairSpread],
    resolution: float,
) -> list[QuestionOutlook]:
    """Return how likely each question is decided.

    Args:
        labels: of the questions.
        looks: as planned.
        margin: of the deciding metric, as a width of its interval; 0 is none.
        truth: mean of the differences, turned so that more is better.
        stated: their spread; None takes what was measured, of one question at least.
        measured: spreads by label; questions without one take what the others have in common.
        resolution: the smallest step of the metric; 0 is unknown.
    """
    shared = PairSpread.pooled(list(measured.values()))
    found = []
    for label in labels:
        spread = PairSpread(stated) if stated is not None else measured.get(label, shared)
        assert spread is not None
        narrow, wide = spread.range()

        def chance(width: float) -> tuple[float, ...]:
            return chances(looks, width, margin, truth, resolution)

        by_look = chance(spread.value)
        needed = None
        if by_look[-1] < FAIR:
            more = more_seeds(truth, spread.value, looks.pairs[-1], margin)
            needed = None if more is None else looks.pairs[-1] + more
        found.append(
            QuestionOutlook(
                label,
                spread,
                stated is not None or label in measured,
                by_look,
                chance(wide)[-1],
                chance(narrow)[-1],
                needed,
            )
        )
    return found


def measured_spreads(
    comparison: ArmComparison, ids: Mapping[str, str]
) -> tuple[dict[str, PairSpread], float]:
    """Return the spreads that runs of a store had, and the resolution of their test set.

    Args:
        comparison: of the runs.
        ids: the label of a question by the id of each run of its arm.
    """
    metric = comparison.metrics[0].name
    found: dict[str, PairSpread] = {}
    resolution = 0.0
    for row in comparison.rows:
        paired = row.metrics[metric].baseline
        label = next((ids[run.id] for run in row.runs if run.id in ids), None)
        if paired is None or paired.sd is None or label is None:
            continue
        resolution = max(resolution, paired.resolution or 0.0)
        found[label] = PairSpread(max(paired.sd, paired.resolution or 0.0), paired.n - 1)
    return found, resolution
