"""What the reader of a comparison must know before believing it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis.arms import SCOPE, Arm
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import is_collapsed
from emabench.analysis.selection import Outdated
from emabench.records import Environment, JobKind, JobState, RunRecord
from emabench.spec.revisions import PRETRAINING, is_repeated, names_in

FEW_PAIRS = 3
"""Fewer pairs than that say next to nothing."""
_SHOWN = 6
"""Ids, or arms, in one message; the rest is counted."""
_IN_COMMON = {
    "no-baseline": "arms have nothing to be compared with",
    "revisions": "warnings are about figures from before and after a fix",
    "run": "warnings come from the runs themselves",
    "unpaired": "arms do not pair up with their baselines",
}
"""What several warnings of a kind say together, behind their number."""
_WHAT_CHANGED = "docs/explanation/changed-numbers.md says what changed"


@dataclass(frozen=True)
class Caution:
    """One warning.

    Attributes:
        code: tells kinds of warnings apart: ``few-pairs``, ``devices``, ``failed``…
        message: one line, without a capital and a full stop.
        runs: ids of the runs that it is about; empty if it is about all of them.
        hint: what to do about it.
    """

    code: str
    message: str
    runs: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True)
class CautionGroup:
    """The warnings of one kind.

    Attributes:
        code: of the kind.
        heading: what they say together, in one line; the message itself where there is one.
        messages: of each.
        hints: what to do about it, each once.
    """

    code: str
    heading: str
    messages: tuple[str, ...]
    hints: tuple[str, ...]


def cautions_in_json(cautions: Iterable[Caution]) -> dict[str, Any]:
    """Return ``warnings`` and ``cautions`` as all JSON has them: the words, and everything."""
    plain = [{**asdict(each), "runs": list(each.runs)} for each in cautions]
    return {"warnings": [each["message"] for each in plain], "cautions": plain}


def failed_runs(runs: Iterable[RunRecord]) -> list[Caution]:
    """Name the runs that failed for good, with the reason of the first."""
    failed = [run for run in runs if run.state is JobState.FAILED]
    if not failed:
        return []
    reason = next((job.reason for run in failed for job in run.jobs if job.reason), None)
    why = f" ({reason})" if reason else ""
    words = _counted(failed, "failed and do not count", "failed and does not count")
    message = f"{words}: {_ids(failed)}{why}"
    return [
        Caution(
            "failed",
            message,
            _run_ids(failed),
            hint="emabench logs says why; emabench retry tries again",
        )
    ]


def collapsed_runs(runs: Iterable[RunRecord]) -> list[Caution]:
    """Name the runs whose embeddings collapsed; they count like any other."""
    found = [run for run in runs if is_collapsed(run)]
    if not found:
        return []
    return [Caution("collapsed", f"{_counted(found, 'collapsed')}: {_ids(found)}", _run_ids(found))]


def smoke_runs(runs: Iterable[RunRecord]) -> list[Caution]:
    """Name the smoke runs that take part because they were asked for."""
    found = [run for run in runs if run.smoke]
    if not found:
        return []
    message = _counted(
        found,
        "are smoke tests, which only show that the program works",
        "is a smoke test, which only shows that the program works",
    )
    message = f"{message}: {_ids(found)}"
    return [Caution("smoke", message, _run_ids(found))]


def unreadable_runs(runs: Iterable[RunRecord]) -> list[Caution]:
    """Name the runs whose spec cannot be read, with the reason of the first."""
    found = [run for run in runs if run.unreadable is not None]
    if not found:
        return []
    words = _counted(found, "are unreadable and do not count", "is unreadable and does not count")
    message = f"{words}: {_ids(found)} ({found[0].unreadable})"
    hint = "emabench rm removes a run"
    return [Caution("unreadable", message, _run_ids(found), hint=hint)]


def outdated_figures(outdated: Iterable[Outdated], metrics: Iterable[str]) -> list[Caution]:
    """Name the figures that are left out because an evaluation was mended since.

    Args:
        outdated: what the runs lack.
        metrics: names of those that are shown.
    """
    shown = set(metrics)
    found = []
    for each in outdated:
        if each.metric in shown:
            names = ", ".join(each.revisions)
            words = _counted(each.runs, f"is older than {names} and left out")
            message = f"{each.metric} of {words}: {_ids(each.runs)}"
            again = any(map(is_repeated, each.revisions))
            way = (
                "run them again: only" if again else "emabench eval gives the current figure: only"
            )
            hint = f"{way} the evaluation is repeated; {_WHAT_CHANGED}"
            found.append(Caution("revisions", message, _run_ids(each.runs), hint=hint))
    return found


def earlier_arms(arms: Iterable[Arm]) -> list[Caution]:
    """Name the runs that were trained before a fix that changed their numbers."""
    found = []
    for arm in arms:
        if arm.before:
            runs = list(arm.runs.values())
            words = _counted(runs, "were trained", "was trained")
            message = f"{words} before {', '.join(arm.before)} and kept apart: {_ids(runs)}"
            hint = f"run them again; {_WHAT_CHANGED}"
            found.append(Caution("revisions", message, _run_ids(runs), hint=hint))
    return found


def unlike_revisions(
    label: str, runs: Sequence[RunRecord], other: str, others: Sequence[RunRecord]
) -> list[Caution]:
    """Warn where a fix is named by one of two arms that are compared, and not by the other.

    Nobody can tell whether it never concerned the other, or came after it.
    """
    mine, theirs = ({*names_in(some[0].identity, PRETRAINING)} for some in (runs, others))
    if mine == theirs:
        return []
    has, lacks = (label, other) if mine - theirs else (other, label)
    message = (
        f"{has} was trained after {', '.join(sorted(mine ^ theirs))}; {lacks} did not need "
        "it, or was trained before"
    )
    hint = f"run {lacks} again: what was trained before is repeated; {_WHAT_CHANGED}"
    return [Caution("revisions", message, _run_ids([*runs, *others]), hint=hint)]


def mixed_environments(
    groups: Sequence[Sequence[RunRecord]], *, with_costs: bool, factor: str
) -> list[Caution]:
    """Warn where runs that stand in one mean or ratio come from unlike places.

    Args:
        groups: the runs of each arm and its baseline.
        with_costs: whether costs are compared; a device changes nothing else.
        factor: what is compared; its own values may differ, but for costs.
    """
    found = []
    for kind in _KINDS:
        if kind.only_costs and not with_costs:
            continue
        if kind.code == "commits" and factor == "commit":
            continue
        values = {value for runs in groups for value in _mixed(runs, kind.read)}
        if values:
            shown = ", ".join(sorted(values))
            found.append(Caution(kind.code, f"{kind.words}: {shown}{kind.consequence}"))
    return found


def dirty_trees(runs: Iterable[RunRecord]) -> list[Caution]:
    """Name the runs whose code was no commit."""
    found = [run for run in runs if run.environment is not None and run.environment.dirty]
    if not found:
        return []
    message = f"{_counted(found, 'come from a dirty tree', 'comes from a dirty tree')}: their code "
    return [Caution("dirty", f"{message}is not a commit: {_ids(found)}", _run_ids(found))]


def disturbed_costs(runs: Sequence[RunRecord], measured: MetricValues) -> list[Caution]:
    """Name the runs whose costs are not those of one undisturbed attempt."""
    found = []
    busy = [run for run in runs if measured.neighbours.get(run.id)]
    if busy:
        words = f"{_counted(busy, 'trained beside other work on the device')}"
        found.append(
            Caution(
                "busy",
                f"{words}, so their costs are too high: {_ids(busy)}",
                _run_ids(busy),
                hint="run one job per device, or time steps with emabench bench and compare "
                "bench_step_ms",
            )
        )
    interrupted = [run for run in runs if _attempts(run) > 1]
    if interrupted:
        words = _counted(interrupted, "needed several attempts")
        message = f"{words}; times are sums over all of them: {_ids(interrupted)}"
        found.append(Caution("interrupted", message, _run_ids(interrupted)))
    return found


def few_pairs(pairs: Mapping[str, int]) -> list[Caution]:
    """Warn of arms that have fewer than three pairs; of those that have none, others tell.

    Args:
        pairs: number of pairs by the label of the arm.
    """
    few = {label: n for label, n in pairs.items() if 0 < n < FEW_PAIRS}
    if not few:
        return []
    shown = listed([f"{label} (n={n})" for label, n in few.items()])
    message = f"fewer than {FEW_PAIRS} pairs say next to nothing: {shown}"
    return [Caution("few-pairs", message, hint="run more seeds, for example --seed 0..4")]


def own_warnings(runs: Iterable[RunRecord]) -> list[Caution]:
    """Pass on what the runs themselves warned of, each text once."""
    told = Counter(text for run in runs for text in dict.fromkeys(run.warnings))
    return [
        Caution("run", text if count == 1 else f"{text} ({count} runs)")
        for text, count in told.items()
    ]


def cautions_of(runs: Sequence[RunRecord], *, with_costs: bool) -> list[Caution]:
    """Return what the reader of a picture must know: collapsed runs, unlike machines or versions.

    Args:
        runs: those that are shown.
        with_costs: whether times are shown.
    """
    found = collapsed_runs(runs)
    return found + mixed_environments([runs], with_costs=with_costs, factor=SCOPE)


def grouped_cautions(cautions: Iterable[Caution]) -> list[CautionGroup]:
    """Return the warnings by kind, in the order of the first of each."""
    kinds: dict[str, list[Caution]] = defaultdict(list)
    for caution in cautions:
        kinds[caution.code].append(caution)
    return [
        CautionGroup(
            code,
            _heading(code, [each.message for each in found]),
            tuple(each.message for each in found),
            tuple(dict.fromkeys(each.hint for each in found if each.hint is not None)),
        )
        for code, found in kinds.items()
    ]


@dataclass(frozen=True)
class _Kind:
    code: str
    words: str
    consequence: str
    read: Callable[[Environment], Iterable[str]]
    only_costs: bool = False


_KINDS = (
    _Kind(
        "devices",
        "costs were measured on different devices",
        "; their means and ratios mix machines",
        lambda e: [_hardware(e)],
        only_costs=True,
    ),
    _Kind(
        "threads",
        "costs were measured with different numbers of threads",
        "; their ratios mix thread counts",
        lambda e: [str(e.threads)],
        only_costs=True,
    ),
    _Kind("precisions", "runs of different precision are compared", "", lambda e: [e.precision]),
    _Kind(
        "versions",
        "runs with different versions are compared",
        "",
        lambda e: [f"{name} {version}" for name, version in e.versions.items()],
    ),
    _Kind(
        "commits",
        "runs of different commits are compared",
        "",
        lambda e: [] if e.commit is None else [e.commit[:12]],
    ),
)


def _heading(code: str, messages: list[str]) -> str:
    count = len(messages)
    if count == 1:
        return messages[0]
    if code in _IN_COMMON:
        return f"{count} {_IN_COMMON[code]}"
    return f"{messages[0]}; and {count - 1} more of this kind"


def _mixed(runs: Iterable[RunRecord], read: Callable[[Environment], Iterable[str]]) -> set[str]:
    """Return what not all of the runs that know it have in common."""
    known = [set(read(run.environment)) for run in runs if run.environment is not None]
    told = [values for values in known if values]
    return set[str]().union(*told) - told[0].intersection(*told) if told else set()


def _attempts(run: RunRecord) -> int:
    """Return how often the pretraining was tried."""
    return sum(len(job.attempts) for job in run.jobs if job.kind is JobKind.PRETRAIN)


def _counted(runs: Sequence[RunRecord], words: str, one: str | None = None) -> str:
    return f"1 run {one or words}" if len(runs) == 1 else f"{len(runs)} runs {words}"


def _ids(runs: Sequence[RunRecord]) -> str:
    return listed([run.id for run in runs])


def listed(texts: Sequence[str]) -> str:
    """Return the first of some texts on a line, and how many more there are."""
    shown = ", ".join(texts[:_SHOWN])
    return shown if len(texts) <= _SHOWN else f"{shown} and {len(texts) - _SHOWN} more"


def _run_ids(runs: Iterable[RunRecord]) -> tuple[str, ...]:
    return tuple(run.id for run in runs)


def _hardware(environment: Environment) -> str:
    count, compiled = environment.device_count, ", compiled" if environment.compiled else ""
    return f"{f'{count} x ' if count > 1 else ''}{environment.device}{compiled}"
