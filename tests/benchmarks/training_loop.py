"""How much of the bare compute a real run keeps: its images/s ÷ those of forward, backward, step.

    python tests/benchmarks/training_loop.py [--data-dir IMAGES] [--small] [--windows 12]

The run is a real one, with augmentation, probe and monitors. Between two of its windows the bare
loop makes as many steps: the same network, batch and precision, the two views one by one, on
random tensors that lie there already, with the plainest loss.
"""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import torch
from measuring import machine, parser, ratio, spec_of, trainer_of

from emabench import device as devices
from emabench.cost.meter import CostMeter
from emabench.device import Device
from emabench.errors import InterruptedRunError
from emabench.events import Event, StepProgress
from emabench.spec import PretrainSpec
from emabench.training.learner import Learner
from emabench.training.optimizer import build_optimizer
from emabench.training.trainer import Trainer


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--windows", type=int, default=12, help="pairs of windows")
    arguments = flags.parse_args()
    with devices.threads(arguments.threads):
        spec = spec_of(arguments)
        trainer, meter, device = trainer_of(spec)
        run, plain = in_turns(spec, trainer, meter, device, arguments.windows)
    print(machine(device))
    what = "small ResNet" if arguments.small else "ResNet-18"
    print(f"{what}, batch {spec.batch_size}, {trainer.image_size} px, simclr none")
    print(f"run {np.median(run):.0f} images/s, bare {np.median(plain):.0f} images/s")
    print(f"run ÷ bare: {ratio(run, plain)}")


def in_turns(
    spec: PretrainSpec, trainer: Trainer, meter: CostMeter, device: Device, windows: int
) -> tuple[list[float], list[float]]:
    """Return the images/s of a run's windows, and of as many windows of the bare loop between."""
    encoder = Learner(spec, trainer.image_size, trainer.data).encoder.to(device.torch).train()
    optimizer = build_optimizer(spec.optimizer, encoder, spec.batch_size)
    views = [
        torch.randn(spec.batch_size, 3, trainer.image_size, trainer.image_size)
        .to(device.torch)
        .to(memory_format=torch.channels_last)
        for _ in range(2)
    ]

    def bare() -> None:
        with device.autocast():
            embeddings = [encoder(view)[-1] for view in views]
        sum(each.float().square().mean() for each in embeddings).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        bare()
    run: list[float] = []
    plain: list[float] = []
    step = 0

    def on_event(event: Event) -> None:
        nonlocal step
        if not isinstance(event, StepProgress):
            return
        steps, step = event.step - step, event.step
        timed = meter.windows
        if len(timed) == len(run):  # the warm-up, or a window with sampled steps
            return
        run.append(timed[-1])
        device.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            bare()
        device.synchronize()
        plain.append(steps * spec.batch_size / (time.perf_counter() - start))

    with suppress(InterruptedRunError):
        trainer.fit(
            on_event=on_event,
            record=lambda points: None,
            save=lambda state: None,
            stop=lambda: len(run) >= windows,
        )
    return run, plain


if __name__ == "__main__":
    main()
