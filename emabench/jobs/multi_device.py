"""One pretraining on several devices: a process for each, started by torch's elastic launcher.

The launcher ends all processes when one of them dies. The first one, which records, speaks through
a pipe: what is to be recorded is recorded here, and the wish to stop goes the other way.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from emabench import errors, experiment
from emabench.cost.meter import CostMeter
from emabench.device import Device, bind_device
from emabench.errors import EmabenchError
from emabench.events import Listener
from emabench.experiment import Outcome
from emabench.records import CostReading, MetricPoint
from emabench.spec import PretrainSpec
from emabench.training.given_weights import NOTHING, Given

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class _Order:
    """What every process needs to know."""

    spec: PretrainSpec
    folder: Path
    earlier: tuple[Path, ...]
    extended: tuple[Path, ...]
    profile: bool
    given: Given
    images: str | None
    pipe: Connection


@dataclass(frozen=True)
class _Recorded:
    points: tuple[MetricPoint, ...]
    cost: CostReading


@dataclass(frozen=True)
class _Failed:
    kind: str
    message: str
    hint: str | None
    cost: CostReading


class Readings:
    """What the first process has measured last, in place of a meter.

    Attributes:
        last: its reading, that of all devices together.
    """

    def __init__(self) -> None:
        self.last = CostReading()

    def read(self) -> CostReading:
        """Return the last reading."""
        return self.last


def pretrain(
    spec: PretrainSpec,
    *,
    folder: Path,
    earlier: Sequence[Path] = (),
    extended: Sequence[Path] = (),
    on_event: Listener,
    record: Callable[[Iterable[MetricPoint]], None],
    stop: Callable[[], bool],
    readings: Readings,
    profile: bool = False,
    given: Given = NOTHING,
    images: str | None = None,
) -> Outcome:
    """Train a resolved spec as ``experiment.pretrain`` does, on ``spec.devices`` devices.

    Args:
        spec: the resolved spec; its device is the first one.
        folder: of this attempt.
        earlier: folders of earlier attempts, newest first.
        extended: those of the attempts at the run that it extends.
        on_event: listens.
        record: given the metrics of every epoch, after ``readings`` took the costs.
        stop: asked often whether to stop.
        readings: takes what was measured.
        profile: whether the first process leaves a trace.
        given: the weights that the spec names.
        images: digest of those that are expected; None: whatever is there.

    Raises:
        EmabenchError: as ``experiment.pretrain``, or a process died.
    """
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    order = _Order(spec, folder, tuple(earlier), tuple(extended), profile, given, images, theirs)
    launch = _Launch(order)
    launch.start()
    outcome: Outcome | _Failed | None = None
    asked = False
    try:
        while launch.is_alive() or mine.poll():
            if not asked and stop():
                mine.send("stop")
                asked = True
            if not mine.poll(_POLL_SECONDS):
                continue
            said = mine.recv()
            if isinstance(said, _Recorded):
                readings.last = said.cost
                record(said.points)
            elif isinstance(said, Outcome | _Failed):
                outcome = said
                readings.last = said.cost
            else:
                on_event(said)
    except BaseException:
        if not asked:
            mine.send("stop")
        raise
    finally:
        launch.join()
        theirs.close()
        mine.close()
    if isinstance(outcome, _Failed):
        raise _error(outcome)
    if outcome is None:
        raise EmabenchError(f"one of the {spec.devices} processes died: {launch.reason}")
    return outcome


class _Launch(threading.Thread):
    """Runs torch's launcher in a thread, where it leaves this process's signals alone.

    Attributes:
        reason: why it failed.
    """

    def __init__(self, order: _Order) -> None:
        super().__init__(name="launcher", daemon=True)
        self._order = order
        self.reason = "it gave no reason"

    def run(self) -> None:
        """Start the processes and wait for their end."""
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=self._order.spec.devices,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.2,
            start_method="spawn",
        )
        try:
            elastic_launch(config, _train)(self._order)
        except Exception as error:
            self.reason = " ".join(str(error).split())[:500]


def _train(order: _Order) -> None:
    """Train in one of the processes."""
    from emabench.training.distributed import ProcessGroup

    spec, pipe = order.spec, order.pipe
    device = bind_device(spec)
    dist.init_process_group("gloo" if device.kind == "cpu" else "cpu:gloo,cuda:nccl")
    rank = dist.get_rank()
    if device.kind != "cpu":
        device = Device(torch.device(device.kind, _index(device, rank)), device.precision)
        torch.get_device_module(device.torch).set_device(device.torch)
    world = ProcessGroup(device.torch)
    meter = CostMeter(device)
    asked = False

    def stop() -> bool:
        nonlocal asked
        try:
            asked = asked or (world.is_first and pipe.poll() and bool(pipe.recv()))
        except (EOFError, OSError):  # who started this is gone
            asked = True
        return asked

    def tell(said: Any) -> None:
        if world.is_first:
            pipe.send(said)

    try:
        tell(
            experiment.pretrain(
                spec.model_copy(update={"device": str(device.torch)}),
                folder=order.folder,
                earlier=order.earlier,
                extended=order.extended,
                on_event=tell,
                record=lambda points: tell(_Recorded(tuple(points), meter.read())),
                stop=stop,
                meter=meter,
                profile=order.profile and world.is_first,
                given=order.given,
                images=order.images,
                world=world,
            )
        )
    except EmabenchError as error:
        tell(_Failed(type(error).__name__, error.message, error.hint, meter.read()))
    finally:
        dist.destroy_process_group()


def _index(device: Device, rank: int) -> int:
    """Return the number of the device of a process: those after the first one."""
    return (device.torch.index or 0) + rank


def _error(failed: _Failed) -> EmabenchError:
    """Return the error of a process, of the same class where its message is all that it takes."""
    kind = getattr(errors, failed.kind, EmabenchError)
    if not issubclass(kind, EmabenchError) or issubclass(kind, errors.UnknownNameError):
        kind = EmabenchError
    error: EmabenchError = kind(failed.message, hint=failed.hint)
    return error
