"""The meter books every second on one phase, whatever the machine's speed."""

import time

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
    assert cost.throughput_p10 < cost.throughput < cost.throughput_p90


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
