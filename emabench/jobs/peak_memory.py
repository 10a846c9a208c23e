"""The peak memory and the energy of one arm of a bench, in a process that does nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing.connection import Connection

import torch

from emabench import device as devices
from emabench.cost.energy import EnergyCounter
from emabench.cost.meter import CostMeter
from emabench.data.load_with_progress import load_data
from emabench.data.loader import Batch
from emabench.device import Device, bind_device
from emabench.spec import PretrainSpec
from emabench.training.trainer import Trainer

_STEPS = 2
_ENERGY_SECONDS = 2.0
"""The counter of a GPU moves on some ten times a second."""


def tell_alone(spec: PretrainSpec, channel: Connection) -> None:
    """Send through a pipe what ``measure_alone`` returns, or in words why it failed."""
    try:
        channel.send(measure_alone(spec))
    except Exception as error:  # whatever it is, the bench says it in one line
        channel.send(str(error) or type(error).__name__)


def measure_alone(spec: PretrainSpec) -> dict[str, float | None]:
    """Make some steps of a resolved pretraining; return what only a process of its own can tell.

    That is ``peak_memory_bytes``, of the device's allocations or on a CPU of the whole process, and
    ``energy_j_per_step``. None is unknown.
    """
    device = bind_device(spec)
    meter = CostMeter(device)
    with devices.threads(spec.threads or torch.get_num_threads()):
        trainer = Trainer(spec, load_data(spec.data, lambda event: None), device, meter)
        trainer.start(epoch=max(0, spec.epochs - 1))
        batches = trainer.endless()
        with meter.phase("train"):
            for batch in islice(batches, _STEPS):
                trainer.train_step(batch)
        cost = meter.read()
        energy = None if cost.energy_j is None else _energy(trainer, batches, device)
    peak = cost.host_peak_rss if device.kind == "cpu" else cost.device_peak_allocated
    return {"peak_memory_bytes": peak, "energy_j_per_step": energy}


def _energy(trainer: Trainer, batches: Iterator[Batch], device: Device) -> float | None:
    """Return the joules of a step, over some seconds of them."""
    device.synchronize()
    counter, start, steps = EnergyCounter(device), time.perf_counter(), 0
    while time.perf_counter() - start < _ENERGY_SECONDS:
        trainer.train_step(next(batches))
        steps += 1
        device.synchronize()
    joules = counter.joules()
    return None if joules is None else joules / steps
