"""The meter books every second on one phase, whatever the machine's speed."""

import time

import numpy as np
import pytest
import torch

from emabench.cost.meter import CostMeter
from emabench.device import Device


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def make_meter():
    return CostMeter(Device(torch.device("cpu"), "fp32"))


def test_phases_do_not_overlap_and_add_up(clock):
    meter = make_meter()
    clock[0] += 1
    with meter.phase("train"):
        clock[0] += 2
        with meter.phase("probe"):
            clock[0] += 4
        clock[0] += 8
    clock[0] += 16
    cost = meter.read()
    assert (cost.init_s, cost.train_s, cost.probe_s) == (17, 10, 4)
    assert cost.total_s == 31
    assert cost.eval_s is None, "what never happened is unknown, not 0"
    assert cost.throughput is None


def test_throughput_is_the_median_of_windows_after_the_warm_up(clock):
    meter = make_meter()

    def window(phase, seconds, steps=2):
        with meter.window(phase):
            for _ in range(steps):
                clock[0] += seconds / steps
                meter.step(100)

    window("warmup", 50.0)
    for seconds in (1.0, 2.0, 4.0):
        window("train", seconds)
    cost = meter.read()
    assert cost.throughput == 100
    assert cost.throughput_windows == 3
    assert cost.step_ms == 1000
    assert (cost.warmup_s, cost.train_s, cost.steps) == (50, 7, 8)
    speeds = [200, 100, 50]
    assert (cost.throughput_p10, cost.throughput_p90) == pytest.approx(
        np.percentile(speeds, [10, 90])
    )


class Ahead(Device):
    """A device whose work is done when it is waited for, by a clock that somebody turns."""

    def __init__(self, clock):
        super().__init__(torch.device("cpu"), "fp32")
        object.__setattr__(self, "clock", clock)
        object.__setattr__(self, "state", {"pending": 0.0, "waits": 0, "peak": 0})

    def work(self, seconds, peak=0):
        self.state["pending"] += seconds
        self.state["peak"] = max(self.state["peak"], peak)

    def synchronize(self):
        self.clock[0] += self.state["pending"]
        self.state.update(pending=0.0, waits=self.state["waits"] + 1)

    def peak_memory(self):
        return self.state["peak"], self.state["peak"]

    def reset_peak_memory(self):
        self.state["peak"] = 0


def test_a_window_waits_for_the_device_at_its_ends_and_never_within(clock):
    device = Ahead(clock)
    meter = CostMeter(device)
    with meter.phase("data_prep"):
        device.work(1.0, peak=900)
    with meter.window("train"):
        waits = device.state["waits"]
        for _ in range(4):
            device.work(0.5, peak=300)
            meter.step(25)
        assert device.state["waits"] == waits
    cost = meter.read()
    assert (cost.data_prep_s, cost.train_s, cost.throughput) == (1, 2, 50)
    assert cost.device_peak_allocated == 300, "what came before the training is not its peak"


def test_a_sampled_step_waits_at_the_edges_of_its_phases(clock):
    device = Ahead(clock)
    meter = CostMeter(device)
    with meter.window("train", sampled=True):
        for name, seconds in (("augment", 1.0), ("backward", 3.0)):
            with meter.clock.phase(name):
                device.work(seconds)
        meter.step(1)
    cost = meter.read()
    assert (cost.augment_ms, cost.backward_ms, cost.sampled_steps) == (1000, 3000, 1)
    assert cost.throughput is None


def test_waiting_for_data_is_a_part_of_the_training(clock):
    meter = make_meter()

    def slow():
        for item in range(2):
            clock[0] += 3
            yield item

    with meter.window("train"):
        for _ in meter.awaited(slow()):
            clock[0] += 1
            meter.step(1)
    cost = meter.read()
    assert (cost.train_s, cost.data_wait_s) == (8, 6)
