"""The cost meter: where the wall-clock time of an attempt goes, and how fast it trains."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np

from emabench.cost.energy import EnergyCounter
from emabench.cost.steps import StepClock
from emabench.device import Device, host_peak_rss
from emabench.records import CostReading

Phase = Literal["init", "data_prep", "warmup", "train", "probe", "monitor", "eval", "checkpoint"]

_TRAINING: tuple[Phase, ...] = ("warmup", "train")

_ADDED = (
    *("ema_bytes", "ema_bytes_moved", "device_peak_allocated", "device_peak_reserved"),
    *("host_peak_rss", "energy_j"),
)
"""What the devices of one run have each for itself."""

T = TypeVar("T")


class CostMeter:
    """Books every second of an attempt on exactly one phase.

    The clock is monotonic. The device is waited for when the phase changes and when a window of
    steps closes, never inside a step.

    Args:
        device: whose work is measured.

    Attributes:
        clock: times the phases of the steps of a sampled window.
        last_speed: images per second of the last window.
        flops_per_step: floating-point operations of a step; None is unknown.
        ema_bytes: held by the EMA copies; None where there is no training.
        ema_bytes_moved: by the EMA update of a step; likewise.
        others: what the other processes have measured that train the same run on other devices;
            their memory and energy count too.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._seconds: dict[str, float] = defaultdict(float)
        self._phase: Phase = "init"
        self._since = time.perf_counter()
        self._data_wait = 0.0
        self._steps = 0
        self._images = 0
        self.clock = StepClock(device)
        self.last_speed = 0.0
        self.flops_per_step: int | None = None
        self.ema_bytes: int | None = None
        self.ema_bytes_moved: int | None = None
        self.others: list[CostReading] = []
        self._windows: list[tuple[int, int, float]] = []
        self._energy = EnergyCounter(device)
        self._peaks: dict[Phase, tuple[int, int]] = {}
        device.reset_peak_memory()

    def _switch(self, phase: Phase) -> Phase:
        self._device.synchronize()
        now = time.perf_counter()
        self._seconds[self._phase] += now - self._since
        self._take_peak()
        before, self._phase, self._since = self._phase, phase, now
        return before

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Book the block on a phase; an inner phase interrupts the outer one."""
        outer = self._switch(phase)
        try:
            yield
        finally:
            self._switch(outer)

    def _take_peak(self) -> None:
        """Remember the peak of the device's memory in the phase that ends."""
        allocated, reserved = self._device.peak_memory()
        if allocated is not None and reserved is not None:
            before = self._peaks.get(self._phase, (0, 0))
            self._peaks[self._phase] = (max(before[0], allocated), max(before[1], reserved))
            self._device.reset_peak_memory()

    @contextmanager
    def window(self, phase: Phase, *, sampled: bool = False) -> Iterator[None]:
        """Book some steps on ``warmup`` or ``train`` and measure their speed.

        Args:
            phase: of the two.
            sampled: whether to time the phases of every step; such a window takes no part in the
                throughput.
        """
        with self.phase(phase):
            steps, images, start = self._steps, self._images, time.perf_counter()
            self.clock.on = sampled
            try:
                yield
            finally:
                self.clock.on = False
            self._device.synchronize()
            seconds = time.perf_counter() - start
        if self._steps > steps and not sampled:
            self.last_speed = (self._images - images) / seconds
            if phase == "train":
                self._windows.append((self._steps - steps, self._images - images, seconds))

    def awaited(self, batches: Iterator[T]) -> Iterator[T]:
        """Yield the batches and note how long each let the training wait."""
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if self._phase == "train":
                self._data_wait += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    @property
    def windows(self) -> list[float]:
        """Images per second of every window that the throughput is the median of."""
        return [images / seconds for _, images, seconds in self._windows]

    def step(self, images: int) -> None:
        """Note that an optimiser step over so many images was issued."""
        self._steps += 1
        self._images += images
        self.clock.end_step()

    def state_dict(self) -> dict[str, Any]:
        """Return the windows measured so far, for a checkpoint; times belong to one attempt."""
        return {"device": self._device.label, "windows": [list(w) for w in self._windows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the windows of an earlier attempt, if the same kind of device made them."""
        if state["device"] == self._device.label:
            self._windows = [(steps, images, s) for steps, images, s in state["windows"]]

    def read(self) -> CostReading:
        """Return what has been measured so far; what never happened is None."""
        self._switch(self._phase)
        longest = max((steps for steps, _, _ in self._windows), default=0)
        whole = [w for w in self._windows if 2 * w[0] >= longest]
        speeds = np.array([images / seconds for _, images, seconds in whole])
        training = [self._peaks[phase] for phase in _TRAINING if phase in self._peaks]
        peaks = training or list(self._peaks.values())
        phases = self.clock.milliseconds()
        mine = CostReading(
            init_s=self._seconds.get("init"),
            data_prep_s=self._seconds.get("data_prep"),
            warmup_s=self._seconds.get("warmup"),
            train_s=self._seconds.get("train"),
            data_wait_s=self._data_wait if "train" in self._seconds else None,
            probe_s=self._seconds.get("probe"),
            monitor_s=self._seconds.get("monitor"),
            eval_s=self._seconds.get("eval"),
            checkpoint_s=self._seconds.get("checkpoint"),
            total_s=sum(self._seconds.values()),
            throughput=float(np.median(speeds)) if whole else None,
            throughput_p10=float(np.percentile(speeds, 10)) if whole else None,
            throughput_p90=float(np.percentile(speeds, 90)) if whole else None,
            throughput_windows=len(whole) or None,
            step_ms=float(np.median([1000 * s / n for n, _, s in whole])) if whole else None,
            steps=self._steps or None,
            augment_ms=phases.get("augment"),
            online_forward_ms=phases.get("online_forward"),
            target_forward_ms=phases.get("target_forward"),
            loss_ms=phases.get("loss"),
            backward_ms=phases.get("backward"),
            optimizer_ms=phases.get("optimizer"),
            ema_update_ms=phases.get("ema_update"),
            sampled_steps=self.clock.steps or None,
            flops_per_step=self.flops_per_step,
            ema_bytes=self.ema_bytes,
            ema_bytes_moved=self.ema_bytes_moved,
            device_peak_allocated=max((peak for peak, _ in peaks), default=None),
            device_peak_reserved=max((peak for _, peak in peaks), default=None),
            host_peak_rss=host_peak_rss(),
            energy_j=self._energy.joules(),
        )
        return replace(mine, **{name: _total(name, [mine, *self.others]) for name in _ADDED})


def _total(name: str, readings: Sequence[CostReading]) -> Any:
    """Return the sum over all devices; None where one of them is unknown."""
    values = [getattr(reading, name) for reading in readings]
    return None if None in values else sum(values)
