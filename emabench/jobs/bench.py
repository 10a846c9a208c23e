"""What EMA scopes cost, side by side: their training steps take turns in one process.

    resolve_bench     raw spec and scopes → a resolved spec, one arm for each scope
    measure           seconds of every step of every arm, in turns, and what else they cost

Like ``experiment.py``, it knows no database.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from emabench import device as devices
from emabench.cost.meter import CostMeter
from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.data.loader import Batch
from emabench.device import Device, bind_device
from emabench.errors import EmabenchError, InterruptedRunError, SpecError
from emabench.events import Listener, PhaseProgress
from emabench.experiment import Outcome, resolve
from emabench.jobs.peak_memory import tell_alone
from emabench.records import BENCH_STEPS, MetricPoint, PlannedRun
from emabench.spec import BenchSpec, EmaSpec, ExperimentSpec, PretrainSpec, fingerprint
from emabench.training.trainer import Trainer

_WARMUP_ROUNDS = 2
_FEWEST_ROUNDS = 4
_MOST_ROUNDS = 200
_SAMPLED_EVERY = 4
"""On a device that works ahead, one round of so many has its phases timed and no other part."""


def resolve_bench(
    spec: ExperimentSpec, *, command: str, on_event: Listener = lambda event: None
) -> PlannedRun:
    """Settle what a bench leaves open, and check every arm.

    Args:
        spec: as the user wrote it; ``bench`` says which arms.
        command: the command that repeats the bench.
        on_event: listens.

    Raises:
        UsageError: a name, a scope or a value does not go with the others.
        DataError: the images cannot be read.
    """
    assert spec.bench is not None
    if spec.pretrain.devices > 1:
        raise SpecError(
            f"devices={spec.pretrain.devices}: a bench times one device",
            hint="leave --devices at 1; runs on several devices are compared as they are",
        )
    every = [
        resolve(_experiment_of(spec, ema), command=command, on_event=on_event, evaluates=False)
        for ema in spec.bench.arms
    ]
    arms = list({arm.fingerprint: arm for arm in every}.values())  # a scope has several spellings
    bench = spec.bench.model_dump(mode="json")
    bench["arms"] = [arm.spec["pretrain"]["ema"] for arm in arms]
    identity = {"bench": bench, "arms": [arm.fingerprint for arm in arms]}
    spec_of_all = {**arms[0].spec, "bench": bench}
    return replace(arms[0], spec=spec_of_all, fingerprint=fingerprint(identity))


def _experiment_of(spec: ExperimentSpec, ema: EmaSpec) -> ExperimentSpec:
    """Return the experiment of one arm: what watches it costs time and is left out."""
    quiet = spec.pretrain.monitors.model_copy(
        update={"gradient_every": None, "representation_images": 0}
    )
    given = {"ema": ema, "monitors": quiet, "probe_images": 0}
    pretrain = spec.pretrain.model_copy(update=given).with_fresh_weights()
    return spec.model_copy(update={"pretrain": pretrain, "bench": None})


def measure(
    spec: ExperimentSpec,
    *,
    on_event: Listener,
    record: Callable[[Iterable[MetricPoint]], None],
    stop: Callable[[], bool],
    meter: CostMeter,
) -> Outcome:
    """Time the steps of all arms of a resolved bench.

    A round is one step of each arm on the same batch, in an order that moves on from round to
    round. Medians and ratios of the rounds tell the arms apart however much the machine does
    beside.

    Args:
        spec: the resolved spec.
        on_event: listens.
        record: given the milliseconds of every step: ``step_ms:0`` for the first arm, and so on.
        stop: asked after every round, and before each measurement of peak memory.
        meter: of the job, not of the steps.

    Returns:
        Results by name and number of the arm: ``images_per_second:0`` and ``step_ms:0`` of the
        median step, a phase
        (``backward_ms:0``), ``flops_per_step:0``, ``ema_bytes:0``, ``peak_memory_bytes:0``,
        ``energy_j_per_step:0``; what is not known is left out.

    Raises:
        InterruptedRunError: it was stopped.
    """
    assert spec.bench is not None
    specs = [spec.pretrain.model_copy(update={"ema": ema}) for ema in spec.bench.arms]
    device = bind_device(spec.pretrain)
    threads = spec.pretrain.threads or torch.get_num_threads()
    with devices.threads(threads), torch.random.fork_rng(devices=[]):
        with meter.phase("data_prep"):
            dataset = load_data(spec.pretrain.data, on_event)
        arms = [_Arm(each, dataset, device) for each in specs]
        with meter.phase("warmup"):
            pace = _warm_up(arms, on_event)
        rounds = spec.bench.steps or _rounds(spec.bench, pace)
        with meter.phase("train"):
            _take_turns(arms, rounds, device, on_event, stop)
    results: dict[str, float] = {}
    for index, (arm, alone) in enumerate(zip(arms, _alone(specs, on_event, stop), strict=True)):
        found = arm.figures() | alone
        results |= {f"{name}:{index}": value for name, value in found.items() if value is not None}
    record(
        MetricPoint(number, 1, f"{BENCH_STEPS}{index}", 1000 * seconds)
        for index, arm in enumerate(arms)
        for number, seconds in enumerate(arm.seconds, start=1)
    )
    return Outcome(results, meter.read(), {})


class _Arm:
    """One trainer, and the seconds of its steps."""

    def __init__(self, spec: PretrainSpec, dataset: Dataset, device: Device) -> None:
        self._device = device
        self._meter = CostMeter(device)
        self._trainer = Trainer(spec, dataset, device, self._meter)
        self._images = spec.batch_size
        self._trainer.start(epoch=max(0, spec.epochs - 1))  # no layer is frozen any more
        self.batches = self._trainer.endless()
        self.seconds: list[float] = []

    def step(self, batch: Batch, *, sampled: bool, counts: bool) -> float:
        """Make one step, and return the seconds that it took."""
        self._meter.clock.on = sampled
        self._device.synchronize()
        start = time.perf_counter()
        self._trainer.train_step(batch)
        self._device.synchronize()
        seconds = time.perf_counter() - start
        self._meter.clock.end_step()
        self._meter.clock.on = False
        if counts:
            self.seconds.append(seconds)
        return seconds

    def figures(self) -> dict[str, float | None]:
        """Return what was measured of the steps."""
        seconds = float(np.median(self.seconds))
        phases = {f"{name}_ms": ms for name, ms in self._meter.clock.milliseconds().items()}
        return {
            "images_per_second": self._images / seconds,
            "step_ms": 1000 * seconds,
            "flops_per_step": self._meter.flops_per_step,
            "ema_bytes": self._meter.ema_bytes,
            **phases,
        }


def _warm_up(arms: Sequence[_Arm], on_event: Listener) -> float:
    """Make a few untimed rounds; return the seconds of the last one."""
    pace = 0.0
    for number in range(_WARMUP_ROUNDS):
        on_event(PhaseProgress("warm-up", number, _WARMUP_ROUNDS))
        batch = next(arms[0].batches)
        pace = sum(arm.step(batch, sampled=False, counts=False) for arm in arms)
    return pace


def _rounds(bench: BenchSpec, pace: float) -> int:
    return max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, round(bench.seconds / pace)))


def _take_turns(
    arms: Sequence[_Arm],
    rounds: int,
    device: Device,
    on_event: Listener,
    stop: Callable[[], bool],
) -> None:
    """Make this many timed rounds, and those between them that only look at the phases."""
    done = 0
    for number in itertools.count():
        # Where nothing runs ahead of the program, timing the phases delays nothing.
        sampled = not device.works_ahead or number % _SAMPLED_EVERY == 0
        counts = not (device.works_ahead and sampled)
        batch, first = next(arms[0].batches), done % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            arm.step(batch, sampled=sampled, counts=counts)
        done += counts
        on_event(PhaseProgress("timed steps", done, rounds))
        if done == rounds:
            return
        if stop():
            raise InterruptedRunError("stopped")


def _alone(
    specs: Sequence[PretrainSpec], on_event: Listener, stop: Callable[[], bool]
) -> list[dict[str, float | None]]:
    """Measure each arm in a process of its own; see ``peak_memory.py``.

    The processes are forked where the system can from one that has imported torch already and done
    nothing else.

    Raises:
        EmabenchError: a process failed.
        InterruptedRunError: it was stopped.
    """
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload([tell_alone.__module__])
    found = []
    for index, spec in enumerate(specs):
        on_event(PhaseProgress("peak memory", index, len(specs)))
        if stop():
            raise InterruptedRunError("stopped")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=tell_alone, args=(spec, sender))
        process.start()
        sender.close()
        try:
            told = receiver.recv()
        except EOFError:
            told = "it was killed (out of memory?)"
        process.join()
        if isinstance(told, str):
            raise EmabenchError(f"the process that measures the peak memory failed: {told}")
        found.append(told)
    return found
