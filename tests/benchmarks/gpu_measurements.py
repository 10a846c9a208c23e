"""One measurement of ``gpu.py``, in this process: ``gpu_measurements.py NAME SETTINGS``.

    loop-small      images/s of a real run with the small ResNet, of bare forward, backward and step
                      between its windows, and the share of a step in which the device is busy
    loop-resnet18   the same with a ResNet-18
    loop-held       loop-small with learning rate and decay on the device
    bench           none, projector, full in turns: their ratios, and those of their operations
    resumed         a run that was stopped and resumed against one that was not
    held            learning rate and decay on the device against plain numbers, 20 steps
    reach           minutes of training until a kNN classifier is right often enough

Sums on a GPU have no fixed order: ``resumed`` and ``held`` also say how far two equal runs differ.
The last line on stdout is JSON: figures by name, or what went wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import machine, ratio, raw_spec_of, spec_of, trainer_of
from safetensors.torch import load_file
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import profile
from training_loop import in_turns

from emabench import device as devices
from emabench.analysis.statistics import paired_ratio
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device, bind_device
from emabench.errors import InterruptedRunError, first_line
from emabench.evaluation.features import extract_features
from emabench.evaluation.knn import correct_at, knn_scores
from emabench.events import EpochProgress, Event
from emabench.experiment import pretrain
from emabench.jobs.bench import measure, resolve_bench
from emabench.records import MetricPoint
from emabench.spec import BenchSpec, ExperimentSpec, KnnSpec, PretrainSpec
from emabench.training.trainer import Trainer

Figures = dict[str, Any]
SCOPES = ("none", "projector", "full")
_STEPS, _PER_EPOCH, _STOPPED_AFTER = 20, 4, 6


def loop(arguments: argparse.Namespace) -> Figures:
    """Measure windows of a run and of the bare loop in turns, then some steps of the run."""
    fields = {} if arguments.data_dir else {"data.train_subset": arguments.images}
    spec = spec_of(arguments, **fields)
    trainer, meter, device = trainer_of(spec, captures_steps=arguments.holds)
    run, plain = in_turns(spec, trainer, meter, device, arguments.windows)
    busy, kernels = device_time(trainer, device, arguments.profiled)
    step = spec.batch_size / float(np.median(run))
    return {
        "images/s": float(np.median(run)),
        "images/s p10": float(np.percentile(run, 10)),
        "images/s p90": float(np.percentile(run, 90)),
        "images/s bare": float(np.median(plain)),
        "run ÷ bare": ratio(run, plain),
        "step ms": 1000 * step,
        "device busy ms": 1000 * busy,
        "kernels a step": kernels,
        "busy ÷ step": busy / step,
    }


def device_time(trainer: Trainer, device: Device, steps: int) -> tuple[float, float]:
    """Return the seconds of a step in which the device computes, and its kernels a step.

    What overlaps counts once. On a CPU these are the operations that torch records.
    """
    trainer.start(epoch=0)
    batches = trainer.endless()
    for batch in islice(batches, 2):
        trainer.train_step(batch)
    device.synchronize()
    with profile() as profiler:
        for batch in islice(batches, steps):
            trainer.train_step(batch)
        device.synchronize()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if (event.device_type != DeviceType.CPU) == device.works_ahead
        and not getattr(event, "is_user_annotation", False)
    )
    microseconds, reached = 0.0, 0.0
    for start, end in spans:
        microseconds += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return microseconds / 1e6 / steps, len(spans) / steps


def bench(arguments: argparse.Namespace) -> Figures:
    """Measure the scopes with a ResNet-18 as ``emabench bench`` does, peak memory included."""
    raw = raw_spec_of(arguments)
    arms = tuple(raw.pretrain.ema.model_copy(update={"scope": scope}) for scope in SCOPES)
    raw = raw.model_copy(update={"bench": BenchSpec(arms=arms, seconds=arguments.seconds)})
    spec = ExperimentSpec.parse(resolve_bench(raw, command="").spec)
    points: list[MetricPoint] = []
    outcome = measure(
        spec,
        on_event=ignore,
        record=points.extend,
        stop=never,
        meter=CostMeter(bind_device(spec.pretrain)),
    )
    steps = [
        [point.value for point in points if point.name == f"step_ms:{index}"]
        for index in range(len(SCOPES))
    ]
    flops = [outcome.results[f"flops_per_step:{index}"] for index in range(len(SCOPES))]
    figures: Figures = {"rounds": len(steps[0])}
    for index, scope in enumerate(SCOPES):
        figures[f"{scope} images/s"] = outcome.results[f"images_per_second:{index}"]
        if index:
            found = paired_ratio(steps[index], steps[0])
            predicted = flops[index] / flops[0]
            figures[f"{scope} ÷ none"] = ratio(steps[index], steps[0])
            figures[f"{scope} ÷ none by FLOPs"] = predicted
            figures[f"{scope} measured ÷ FLOPs"] = found and found.value / predicted
    return figures


def resumed(arguments: argparse.Namespace) -> Figures:
    """Compare losses and weights of a run, of the same again, and of one that was stopped."""
    images = {} if arguments.data_dir else {"data.train_subset": _PER_EPOCH * arguments.batch_size}
    fields = {"ema.scope": "full", "precision": "fp32", "epochs": 3, "max_steps": 3 * _PER_EPOCH}
    spec = spec_of(arguments, **images, **fields)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, again = (trained(spec, folder / each) for each in ("whole", "again"))
        steps = iter(range(1, 1000))
        with suppress(InterruptedRunError):
            trained(spec, folder / "one", stop=lambda: next(steps) >= _STOPPED_AFTER)
        rest = trained(spec, folder / "two", earlier=[folder / "one"])
    return {
        "stopped after step": _STOPPED_AFTER,
        "epochs ended since": len(rest[0]),
        "loss, resumed": difference(whole[0][-1:], rest[0][-1:]),
        "loss, two equal runs": difference(whole[0][-1:], again[0][-1:]),
        "weights, resumed": difference(whole[1], rest[1]),
        "weights, two equal runs": difference(whole[1], again[1]),
    }


def trained(
    spec: PretrainSpec,
    folder: Path,
    *,
    earlier: Iterable[Path] = (),
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Train, and return the losses of the epochs and the weights of the backbone."""
    points: list[MetricPoint] = []
    pretrain(
        spec,
        folder=folder,
        earlier=list(earlier),
        on_event=ignore,
        record=points.extend,
        stop=stop,
        meter=CostMeter(bind_device(spec)),
    )
    losses = [torch.tensor(point.value) for point in points if point.name == "loss"]
    return losses, list(load_file(folder / "online.safetensors").values())


def held(arguments: argparse.Namespace) -> Figures:
    """Compare 20 steps with numbers and with tensors, for kinds of optimisers that take them."""
    figures: Figures = {}
    for optimizer in ("sgd", "adamw", "lars"):
        images = {} if arguments.data_dir else {"data.train_subset": 2 * arguments.batch_size}
        fields = {"ema.scope": "full", "precision": "fp32", "optimizer.name": optimizer}
        fields |= {"optimizer.lr": 0.01, "optimizer.options": {}}
        spec = spec_of(arguments, **images, **fields)
        plain, again = losses_of(spec), losses_of(spec)
        figures[f"{optimizer}: loss, two equal runs"] = difference(plain, again)
        try:
            figures[f"{optimizer}: loss, held"] = difference(plain, losses_of(spec, holds=True))
        except Exception as error:  # of a kernel that does not take them: the others may
            figures[f"{optimizer}: loss, held"] = f"{type(error).__name__}: {first_line(error)}"
    return figures


def losses_of(spec: PretrainSpec, *, holds: bool = False) -> list[Tensor]:
    """Return the losses of the first steps."""
    trainer, _, _ = trainer_of(spec, captures_steps=holds)
    trainer.start(epoch=0)
    return [trainer.train_step(batch) for batch in islice(trainer.endless(), _STEPS)]


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest value of its tensor; 0 is equal."""
    return max(
        float((a.double() - b.double()).abs().max() / a.double().abs().max().clamp_min(1e-30))
        for a, b in zip(one, other, strict=True)
    )


def reach(arguments: argparse.Namespace) -> Figures:
    """Train SimCLR with a ResNet-18 until its kNN top-1 is reached, or the time is over."""
    start = time.monotonic()
    spec = spec_of(arguments, epochs=arguments.epochs, **{"schedule.warmup_epochs": 2.0})
    trainer, _, device = trainer_of(spec)
    dataset = load_dataset(spec.data)
    seconds, since, best, epochs = 0.0, time.perf_counter(), 0.0, 0

    def on_event(event: Event) -> None:
        nonlocal seconds, since, best, epochs
        if not isinstance(event, EpochProgress):
            return
        device.synchronize()
        seconds, epochs = seconds + time.perf_counter() - since, event.epoch
        if event.epoch % 5 == 0 or event.epoch == spec.epochs:
            train, test = (
                extract_features(
                    trainer.learner.backbone_of("online"),
                    images,
                    mean=dataset.mean,
                    std=dataset.std,
                    device=device,
                    batch_size=1000,
                )
                for images in (dataset.train, dataset.test)
            )
            scores = knn_scores(KnnSpec(), train, test[0], len(dataset.classes))
            best = max(best, 100 * float(correct_at(scores, test[1], 1).float().mean()))
        since = time.perf_counter()

    def over() -> bool:
        return best >= arguments.reach or time.monotonic() - start > 0.9 * arguments.limit

    with suppress(InterruptedRunError):
        trainer.fit(on_event=on_event, record=ignore, save=ignore, stop=over)
    return {
        "kNN top-1 %, best": best,
        "epochs": epochs,
        "minutes of training": seconds / 60,
        f"minutes to {arguments.reach:g} %": seconds / 60 if best >= arguments.reach else None,
    }


def ignore(_: Any) -> None:
    """Take what is of no interest here."""


def never() -> bool:
    """Go on."""
    return False


MEASUREMENTS = {
    "loop-small": loop,
    "loop-resnet18": loop,
    "loop-held": loop,
    "bench": bench,
    "resumed": resumed,
    "held": held,
    "reach": reach,
}


def main() -> int:
    name, settings = sys.argv[1:]
    arguments = argparse.Namespace(**json.loads(settings))
    arguments.small = arguments.all_small or name in ("loop-small", "loop-held", "resumed", "held")
    arguments.holds = name == "loop-held"
    try:
        with devices.threads(arguments.threads):
            chosen = devices.choose()
            device = Device(chosen, devices.choose_precision(chosen, arguments.precision))
            figures = {"machine": machine(device), **MEASUREMENTS[name](arguments)}
    except Exception as error:  # whatever it is, the others go on
        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {first_line(error)}"}))
        return 1
    print(json.dumps({"figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
