"""What runs in a Slurm task, in submitit's process; like ``node.py`` it imports no torch."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from emabench.engines.node import STOP_SIGNALS, make_attempt


def run_task(ticket: str) -> int:
    """Make an attempt inside a Slurm task; its signals ask the job for a checkpoint.

    Args:
        ticket: of ``Ticket.write``.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    for number in STOP_SIGNALS:  # in place of submitit's own, which would requeue in Slurm
        signal.signal(number, ask)
    return make_attempt(ticket, asked.is_set)
