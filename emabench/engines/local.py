"""The local engine: runs, one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from emabench import device as devices
from emabench import experiment
from emabench.errors import EmabenchError, InterruptedRunError, StoreError
from emabench.experiment import Listener
from emabench.queue.worker import work
from emabench.records import JobState, Notice, PlannedRun, QueuedRun, RunFinished, RunStarted
from emabench.spec import ExperimentSpec
from emabench.store.run_store import RunStore


def run_all(
    store: RunStore,
    plans: Sequence[PlannedRun],
    *,
    artifacts: Path,
    force: bool,
    on_event: Listener,
    stop: Callable[[], bool],
) -> list[RunFinished]:
    """Queue all runs, then work on them in order; one that fails does not stop the others.

    Args:
        store: open for writing.
        plans: the resolved runs.
        artifacts: the folder of all artefacts.
        force: repeat runs that the store holds already.
        on_event: told of progress.
        stop: asked often whether to stop.

    Returns:
        What became of each run, in order.

    Raises:
        InterruptedRunError: ``stop`` said so; the runs that are not done stay queued.
    """
    for job in store.reap_dead():
        on_event(Notice(f"job {job} lost its process; it is queued again"))
    queued = [store.add_run(plan, force=force) for plan in plans]
    finished: list[RunFinished] = []
    for index, (plan, run) in enumerate(zip(plans, queued, strict=True)):
        if stop():
            raise InterruptedRunError("stopped")
        on_event(RunStarted(plan, run, index, len(plans)))
        end = _run(store, plan, run, artifacts, on_event, stop)
        on_event(end)
        finished.append(end)
    return finished


def _run(
    store: RunStore,
    plan: PlannedRun,
    run: QueuedRun,
    artifacts: Path,
    on_event: Listener,
    stop: Callable[[], bool],
) -> RunFinished:
    """Work on both jobs of a run; what is done already is not repeated."""
    if run.state is JobState.DONE:
        return RunFinished(run, JobState.DONE)
    spec = ExperimentSpec.parse(plan.spec)
    device = experiment.bind_device(spec.pretrain)
    environment = devices.environment(device, plan.identity["threads"])
    for job in (run.pretrain_job, run.eval_job):
        claim = store.claim(job, environment=environment)
        if claim is None:
            state = next(j.state for j in store.run(run.id).jobs if j.id == job)
            if state is JobState.DONE:
                continue
            return RunFinished(run, state, f"job {job} is {state}, not free to be worked on")
        try:
            work(store, claim, artifacts=artifacts, on_event=on_event, stop=stop)
        except (InterruptedRunError, StoreError):
            raise
        except EmabenchError as error:
            return RunFinished(run, JobState.FAILED, error.message, error.hint)
        except Exception as error:
            return RunFinished(run, JobState.FAILED, f"{type(error).__name__}: {error}")
    return RunFinished(run, JobState.DONE)
