"""Sampled windows tell the phases of a step, and take no part in the throughput."""

import time

import pytest
import torch

from emabench.cost.meter import CostMeter
from emabench.cost.steps import STEP_PHASES, StepClock
from emabench.device import Device


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def take_step(steps: StepClock, clock, **seconds):
    for name, each in seconds.items():
        with steps.phase(name):
            clock[0] += each


def test_a_phase_is_the_median_over_the_steps_and_0_where_it_never_happens(clock):
    steps = StepClock()
    steps.on = True
    for forward in (1, 2, 9):
        take_step(steps, clock, online_forward=forward, backward=4)
        take_step(steps, clock, online_forward=1)  # the second view
        steps.end_step()
    found = steps.milliseconds()
    assert found == dict.fromkeys(STEP_PHASES, 0.0) | {"online_forward": 3000, "backward": 4000}
    assert steps.steps == 3


def test_a_clock_that_is_off_sees_nothing(clock):
    steps = StepClock()
    take_step(steps, clock, loss=1)
    steps.end_step()
    assert (steps.steps, steps.milliseconds()) == (0, {})


def test_a_sampled_window_has_phases_and_no_part_in_the_throughput(clock):
    meter = CostMeter(Device(torch.device("cpu"), "fp32"))
    for seconds, sampled in ((1.0, False), (50.0, True), (1.0, False)):
        with meter.window("train", sampled=sampled):
            take_step(meter.clock, clock, augment=seconds / 4, backward=3 * seconds / 4)
            meter.step(100)
    cost = meter.read()
    assert (cost.throughput, cost.throughput_windows, cost.sampled_steps) == (100, 2, 1)
    assert (cost.augment_ms, cost.backward_ms) == (12_500, 37_500)
    assert cost.train_s == 52, "a sampled window is training all the same"
    assert meter.windows == [100, 100]


def test_what_was_never_sampled_is_unknown():
    cost = CostMeter(Device(torch.device("cpu"), "fp32")).read()
    assert {getattr(cost, f"{name}_ms") for name in STEP_PHASES} == {None}
    assert (cost.sampled_steps, cost.flops_per_step, cost.energy_j) == (None, None, None)
