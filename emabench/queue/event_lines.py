"""What happens in a job, in words: lines for its log, and for a console that is no terminal."""

from __future__ import annotations

from collections.abc import Callable

from emabench.events import EpochProgress, Event, Notice, PhaseProgress


class Narrator:
    """Turns the events of one job into lines; what repeats is said once.

    Args:
        say: takes one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._phase: str | None = None

    def __call__(self, event: Event) -> None:
        """Say what happened, if it is worth a line."""
        if isinstance(event, PhaseProgress):
            if event.phase != self._phase:
                self._say(f"{event.phase}…")
            self._phase = event.phase
        elif isinstance(event, EpochProgress):
            self._phase = None
            self._say(_epoch_line(event))
        elif isinstance(event, Notice):
            self._phase = None
            self._say(f"note: {event.message}")


def _epoch_line(event: EpochProgress) -> str:
    """Return the line that says how an epoch went."""
    line = f"epoch {event.epoch}/{event.epochs}: loss {event.loss:.4f}"
    if event.online_top1 is not None:
        line += f", online top-1 {event.online_top1:.2f} %"
    if event.images_per_second is not None:
        line += f", {event.images_per_second:,.0f} images/s"
    return line
