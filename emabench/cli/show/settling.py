"""A study that looks as planned, on the command line: what each look shows, and may still cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from emabench.analysis.looking.looks import Looks
    from emabench.artifacts.layout import Keep
    from emabench.cli.options.engine_options import EngineChoice
    from emabench.engines.settling import StudyLook
    from emabench.plans.grids import Axes
    from emabench.records import PlannedRun, QueuedRun
    from emabench.spec.study import Study


@dataclass(frozen=True)
class SettlingOrder:
    """What the options of ``studies run --until settled`` ask for.

    Attributes:
        db: path or URL of the store.
        choice: who works on the runs; None leaves that to workers elsewhere.
        artifacts: where weights, checkpoints and logs go; None is beside the store.
        keep: what stays of a finished job.
        priority: of the jobs.
        max_attempts: failures of a job before it is given up.
    """

    db: str
    choice: EngineChoice | None
    artifacts: str | None
    keep: Keep
    priority: int
    max_attempts: int


def resolved_for_looks(
    study: Study, budget: str, changes: Axes, db: str, artifacts: Path | None = None
) -> tuple[list[PlannedRun], Looks, list[int]]:
    """Return the runs that a study may take up to its last look, its looks, and its seeds.

    Raises:
        UsageError: a run is given the weights of ``@last``, which is another run at every look.
    """
    from emabench.cli.show.plans import resolve_points
    from emabench.errors import UsageError
    from emabench.plans.studies import check_given, study_points
    from emabench.plans.study_questions import planned_looks
    from emabench.spec.paths import SHORT_NAMES
    from emabench.spec.pretrain import GIVEN

    check_given(study, changes)
    seed = SHORT_NAMES["seed"]
    given = dict(changes)
    looks, seeds = planned_looks(study.budget(budget), given.pop(seed, None))
    points = study_points(study, budget, changes=[*given.items(), (seed, seeds)])
    for point in points:
        for path in GIVEN.values():
            if attrgetter(path)(point.spec) == "@last":
                raise UsageError(
                    f"{path.removeprefix('pretrain.')}=@last is another run at every look",
                    hint="give the id of the run, which 'emabench list' shows",
                )
    plans = resolve_points(points, db=db, artifacts=artifacts, study=study.name)
    return list({plan.fingerprint: plan for plan in plans}.values()), looks, seeds


def settle_study(
    study: Study, budget: str, changes: Axes, order: SettlingOrder, *, json: bool
) -> None:
    """Work on a study look by look until no question is open, and tell what each look shows.

    Raises:
        InterruptedRunError: the user stopped it; the same command goes on.
        JobsFailedError: runs failed, so that a question cannot be looked at.
        EmabenchError: the study would mix kinds of hardware.
    """
    from emabench.cli.app.console import err, print_json
    from emabench.cli.options.engine_options import local_artifacts
    from emabench.cli.show.plans import add_to
    from emabench.engines.settling import settle
    from emabench.errors import JobsFailedError
    from emabench.plans.study_questions import question_of, study_questions, study_terms
    from emabench.queue.patience import patient
    from emabench.store import RunStore

    if order.choice is not None:
        order.choice.check(order.artifacts)
    folder = local_artifacts(order.db, order.artifacts)
    plans, looks, seeds = resolved_for_looks(study, budget, changes, order.db, folder)
    questions = study_questions(study, plans)
    last: StudyLook | None = None
    told = []
    with RunStore.open(order.db, mode="write") as opened:
        store = patient(opened, stop=lambda: False, say=lambda text: err().print(f"note: {text}"))
        _check_hardware(store, plans, order.choice)
        plan = store.keep_plan(
            study.name,
            smoke=plans[0].smoke,
            pairs=looks.pairs,
            levels=looks.levels,
            terms=study_terms(study, questions, seeds),
        )

        def add(some: Sequence[PlannedRun]) -> list[QueuedRun]:
            return add_to(
                store,
                some,
                db=order.db,
                artifacts=folder,
                priority=order.priority,
                max_attempts=order.max_attempts,
            )

        def work(runs: Sequence[QueuedRun]) -> None:
            if order.choice is not None:
                _work(opened, runs, order, order.choice, kind=plans[0].identity["device_kind"])

        err().print(_announced(questions, looks.pairs), soft_wrap=True)
        for last in settle(
            store,
            questions,
            question=question_of(study),
            plan=plan,
            seeds=seeds,
            add=add,
            work=work,
        ):
            told.append(_plain(last))
            if not json:
                for line in _in_words(last):
                    typer.echo(line)
    assert last is not None
    if json:
        head = {"schema_version": 1, "study": study.name, "budget": budget}
        print_json({**head, "questions": len(questions), "looks": told})
    if last.waiting:
        err().print("note: workers are to run them; the same command then goes on")
    if last.stuck:
        from emabench.table import counted

        label, reason = next(iter(last.stuck.items()))
        raise JobsFailedError(
            f"runs of {len(last.stuck)} of {counted(len(questions), 'question')} failed; "
            f"the first is {label}: {reason}",
            hint="the same command tries them again; other seeds do not replace them",
        )


def _work(
    store: Any, runs: Sequence[QueuedRun], order: SettlingOrder, choice: EngineChoice, *, kind: str
) -> None:
    from dataclasses import replace

    from emabench.cli.app.console import err
    from emabench.cli.options.engine_options import EngineName, local_artifacts, opened_engine
    from emabench.cli.show.progress import work_listener
    from emabench.engines import local
    from emabench.errors import InterruptedRunError
    from emabench.queue.patience import patient
    from emabench.queue.stop_request import StopRequest
    from emabench.queue.supervisor import Slot
    from emabench.queue.worker import Workplace

    folder: Path = local_artifacts(order.db, order.artifacts)
    stop = StopRequest()
    is_here = choice.name is EngineName.LOCAL
    asked = choice if is_here else replace(choice, device=kind)
    willing = patient(store, stop=stop)
    try:
        with (
            opened_engine(asked, willing, db=order.db, place=order.artifacts) as (engine, slots),
            stop,
            work_listener(err()) as on_event,
        ):
            local.work_on(
                store,
                order.db,
                runs,
                [Slot()] * choice.jobs_per_device if is_here else slots,
                place=Workplace(folder, keep=order.keep),
                engine=engine,
                on_event=on_event,
                stop=stop,
            )
    except InterruptedRunError as error:
        raise InterruptedRunError(error.message, hint="the same command goes on") from None


def _check_hardware(store: Any, plans: Sequence[PlannedRun], choice: EngineChoice | None) -> None:
    """Refuse to go on where runs that would be found were trained on another kind of CPU or GPU.

    On a cluster, and where workers elsewhere do it, only what is done tells; every look asks again.
    """
    from emabench import device as devices
    from emabench.analysis.looking.said_of_looks import devices_of
    from emabench.cli.options.engine_options import EngineName
    from emabench.engines.settling import mixed_hardware
    from emabench.records import JobState, RunQuery

    begun = (JobState.DONE, JobState.RUNNING)
    # Of one fingerprint the newest that is done will be found, else the newest.
    earlier = sorted(store.runs(RunQuery(smoke=True)), key=lambda run: run.state is JobState.DONE)
    known = {run.fingerprint: run for run in earlier}
    names = [(plan.fingerprint, *plan.earlier_fingerprints) for plan in plans]
    found = [next((known[name] for name in each if name in known), None) for each in names]
    kinds = devices_of(run for run in found if run is not None and run.jobs[0].state in begun)
    if choice is not None and choice.name is EngineName.LOCAL:
        device = devices.choose(plans[0].spec["pretrain"]["device"])
        kinds |= {devices.describe(device)} if kinds else set()
    if len(kinds) > 1:
        raise mixed_hardware(kinds)


def _announced(questions: Sequence[Any], pairs: Sequence[int]) -> str:
    from emabench.table import counted

    return f"{counted(len(questions), 'question')}, looks at {', '.join(map(str, pairs))} pairs"


def _in_words(look: StudyLook) -> list[str]:
    from emabench.table import counted, duration

    head = f"look {look.number} of {look.of}, {look.pairs} pairs"
    if look.waiting:
        return [f"{head}: not taken yet, {counted(look.waiting, 'run')} to be done first"]
    counts = f"{len(look.decided)} decided, {len(look.open)} open"
    counts += f", {len(look.stuck)} with failed runs" if look.stuck else ""
    lines = [f"{head}: {counts}"]
    lines += [f"    {label}: {words}" for label, words in look.decided.items()]
    lines += [f"    {label}: {reason}" for label, reason in look.stuck.items()]
    if look.open and look.number < look.of:
        time = "" if look.rest.seconds is None else f", about {duration(look.rest.seconds)}"
        lines += [f"    {label}: open" for label in look.open]
        lines.append(f"    up to {counted(look.rest.runs, 'more run')}{time}")
    elif look.open:
        lines += [f"    {label}: inconclusive, that was the last look" for label in look.open]
    return lines


def _plain(look: StudyLook) -> dict[str, Any]:
    values: Mapping[str, Any] = vars(look)
    return {
        **values,
        "open": list(look.open),
        "rest": {"runs": look.rest.runs, "seconds": look.rest.seconds},
    }
