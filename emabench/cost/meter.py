"""The cost meter: where the wall-clock time of an attempt goes, and how fast it trains."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import numpy as np

from emabench.device import Device, host_peak_rss
from emabench.records import CostReading

Phase = Literal["init", "data_prep", "warmup", "train", "probe", "monitor", "eval", "checkpoint"]

T = TypeVar("T")


class CostMeter:
    """Books every second of an attempt on exactly one phase.

    The clock is monotonic. The device is waited for when the phase changes and when a window of
    steps closes, never inside a step.

    Args:
        device: whose work is measured.

    Attributes:
        last_speed: images per second of the last window.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._seconds: dict[str, float] = defaultdict(float)
        self._phase: Phase = "init"
        self._since = time.perf_counter()
        self._data_wait = 0.0
        self._steps = 0
        self._images = 0
        self.last_speed = 0.0
        self._windows: list[tuple[int, int, float]] = []
        device.reset_peak_memory()

    def _switch(self, phase: Phase) -> Phase:
        self._device.synchronize()
        now = time.perf_counter()
        self._seconds[self._phase] += now - self._since
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

    @contextmanager
    def window(self, phase: Phase) -> Iterator[None]:
        """Book some steps on ``warmup`` or ``train`` and measure their speed."""
        with self.phase(phase):
            steps, images, start = self._steps, self._images, time.perf_counter()
            yield
            self._device.synchronize()
            seconds = time.perf_counter() - start
        if self._steps > steps:
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

    def step(self, images: int) -> None:
        """Note that an optimiser step over so many images was issued."""
        self._steps += 1
        self._images += images

    def state_dict(self) -> dict[str, Any]:
        """Return the windows measured so far, for a checkpoint; times belong to one attempt."""
        return {"device": self._device.label, "windows": [list(w) for w in self._windows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the windows of an earlier attempt, if the same kind of device made them."""
        if state["device"] == self._device.label:
            self._windows = [(steps, images, s) for steps, images, s in state["windows"]]

    def read(self, *, ema_bytes: int | None = None) -> CostReading:
        """Return what has been measured so far; what never happened is None."""
        self._switch(self._phase)
        longest = max((steps for steps, _, _ in self._windows), default=0)
        whole = [w for w in self._windows if 2 * w[0] >= longest]
        speeds = np.array([images / seconds for _, images, seconds in whole])
        allocated, reserved = self._device.peak_memory()
        return CostReading(
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
            ema_bytes=ema_bytes,
            device_peak_allocated=allocated,
            device_peak_reserved=reserved,
            host_peak_rss=host_peak_rss(),
        )
