"""A trace of some training steps, by torch.profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import profile, schedule

TRACE = "trace.json.gz"
_SKIPPED, _WARMUP, _TRACED = 3, 2, 10


@contextmanager
def traced_steps(folder: Path) -> Iterator[Callable[[], None]]:
    """Trace ten steps after the first five, and write them for chrome://tracing or Perfetto.

    Args:
        folder: gets ``trace.json.gz``.

    Yields:
        What is to be called after every step.
    """
    plan = schedule(skip_first=_SKIPPED, wait=0, warmup=_WARMUP, active=_TRACED, repeat=1)
    file = str(folder / TRACE)
    with profile(schedule=plan, on_trace_ready=lambda p: p.export_chrome_trace(file)) as profiler:
        yield profiler.step
