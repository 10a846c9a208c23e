"""The step clock: where the time of single training steps goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy as np

from emabench.device import Device

StepPhase = Literal[
    "augment",
    "online_forward",
    "target_forward",
    "loss",
    "backward",
    "optimizer",
    "ema_update",
]

STEP_PHASES: tuple[StepPhase, ...] = get_args(StepPhase)
"""The phases of a step, in their order. What is left of a step is the rest: probe and queue."""


class StepClock:
    """Times the phases of the steps for which it is ``on``; off, it does nothing.

    On, it waits for the device at every edge of a phase, so that a step it looks at is no measure
    of speed on a device that works ahead.

    Args:
        device: whose work is timed; None for the CPU.

    Attributes:
        on: whether the current step is timed.
    """

    def __init__(self, device: Device | None = None) -> None:
        self._device = device
        self.on = False
        self._step: dict[StepPhase, float] = defaultdict(float)
        self._steps: list[dict[StepPhase, float]] = []

    @contextmanager
    def phase(self, name: StepPhase) -> Iterator[None]:
        """Book the block on a phase of the current step; a phase may come several times."""
        if not self.on:
            yield
            return
        start = self._now()
        try:
            yield
        finally:
            self._step[name] += self._now() - start

    def end_step(self) -> None:
        """Close the current step."""
        if self.on:
            self._steps.append(dict(self._step))
            self._step.clear()

    @property
    def steps(self) -> int:
        """Number of steps that were timed."""
        return len(self._steps)

    def milliseconds(self) -> dict[StepPhase, float]:
        """Return the median of each phase over the timed steps; empty if there are none.

        A phase that never happened, such as the forward pass of a target that is the online
        network, takes 0.
        """
        if not self._steps:
            return {}
        return {
            name: 1000 * float(np.median([step.get(name, 0.0) for step in self._steps]))
            for name in STEP_PHASES
        }

    def _now(self) -> float:
        if self._device is not None:
            self._device.synchronize()
        return time.perf_counter()
