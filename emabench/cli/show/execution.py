"""Plans worked on in the foreground: what ``run``, ``eval`` and ``bench`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emabench.events import RunFinished
    from emabench.queue.worker import Workplace
    from emabench.records import PlannedRun, QueuedRun, RunRecord


def execute(
    plans: Sequence[PlannedRun],
    *,
    db: str,
    place: Workplace,
    force: bool,
    on_queued: Callable[[QueuedRun], None] = lambda run: None,
) -> tuple[list[RunFinished], dict[str, RunRecord]]:
    """Work on plans as ``engines.local.execute`` does, with progress on stderr, until Ctrl-C.

    Raises:
        InterruptedRunError: the user stopped it.
        EmabenchError: the store or the folder of artifacts cannot be written.
    """
    from emabench.cli.app.console import err
    from emabench.cli.show.plans import say_what_is_not_done
    from emabench.cli.show.progress import listener
    from emabench.engines import local
    from emabench.errors import InterruptedRunError
    from emabench.queue.stop_request import StopRequest

    try:
        with StopRequest() as stop, listener(err()) as on_event:
            outcomes, runs = local.execute(
                plans,
                db=db,
                place=place,
                force=force,
                on_event=on_event,
                stop=stop,
                on_queued=on_queued,
            )
    except InterruptedRunError as error:
        raise InterruptedRunError(error.message, hint="the same command resumes it") from None
    say_what_is_not_done(plans, [outcome.run for outcome in outcomes])
    return outcomes, runs
