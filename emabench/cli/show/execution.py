"""Plans worked on in the foreground: what ``run`` and ``eval`` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emabench.events import RunFinished
    from emabench.queue.worker import Workplace
    from emabench.records import PlannedRun, RunRecord


def execute(
    plans: Sequence[PlannedRun], *, db: str, place: Workplace, force: bool
) -> tuple[list[RunFinished], dict[str, RunRecord]]:
    """Queue plans, work on them in order, and wait for their end.

    Args:
        plans: the resolved runs, or separate evaluations.
        db: path or URL of the store; created if it is not there.
        place: where to work.
        force: repeat what the store holds already.

    Returns:
        What became of each plan, and the records by their ids, each once.

    Raises:
        InterruptedRunError: the user stopped it.
        StoreError: the store cannot be written.
        EmabenchError: the folder of artifacts cannot be written.
    """
    from emabench.cli.app.console import err
    from emabench.cli.app.interrupt import StopRequest
    from emabench.cli.show.plans import say_what_is_not_labelled
    from emabench.cli.show.progress import listener
    from emabench.engines import local
    from emabench.errors import InterruptedRunError
    from emabench.store import RunStore

    with RunStore.open(db, mode="write") as store:
        _check_writable(place.artifacts)
        try:
            with StopRequest() as stop, listener(err()) as on_event:
                outcomes = local.run_all(
                    store, db, plans, place=place, force=force, on_event=on_event, stop=stop
                )
        except InterruptedRunError as error:
            raise InterruptedRunError(error.message, hint="the same command resumes it") from None
        say_what_is_not_labelled(plans, [outcome.run for outcome in outcomes])
        ids = dict.fromkeys(outcome.run.id for outcome in outcomes)
        return outcomes, {run_id: store.run(run_id) for run_id in ids}


def raise_unless_done(outcomes: Sequence[RunFinished], *, what: str) -> None:
    """Turn what is not done into the error that says so.

    Args:
        outcomes: what became of each plan.
        what: the plural of what they are, for example ``runs``.

    Raises:
        JobsFailedError: some of several failed.
        EmabenchError: the only one failed.
    """
    from emabench.errors import EmabenchError, JobsFailedError
    from emabench.records import JobState

    failed = [outcome for outcome in outcomes if outcome.state is not JobState.DONE]
    if failed and len(outcomes) == 1:
        run_id = failed[0].run.id
        hint = failed[0].hint or f"'emabench show {run_id}' says more"
        raise EmabenchError(
            failed[0].reason or f"{what.removesuffix('s')} {run_id} failed", hint=hint
        )
    if failed:
        first = f"{failed[0].run.id}: {failed[0].reason or 'no reason was recorded'}"
        raise JobsFailedError(
            f"{len(failed)} of {len(outcomes)} {what} failed; the first is {first}",
            hint="the same command tries the failed ones again",
        )


def _check_writable(folder: Path) -> None:
    """Find out before the training, not after it, whether its files can be kept.

    Raises:
        EmabenchError: the folder cannot be created or written.
    """
    import tempfile

    from emabench.errors import EmabenchError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EmabenchError(
            f"cannot write to the artifacts folder {folder}: {error.strerror}",
            hint="choose another one with --artifacts",
        ) from None
