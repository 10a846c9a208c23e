"""What the gradient monitor costs: measured steps against plain ones, interleaved.

    python tests/benchmarks/monitors.py [--pairs 40] [--preset quick] [--method moco]

One thread. A measured step and a plain step take turns; the median of the paired ratios r, with a
95 % bootstrap interval, gives the overhead of a run: 2 (r - 1) / gradient_every.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import torch
from scipy.stats import bootstrap

from emabench import experiment
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiment_at
from emabench.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--method", default="moco")
    parser.add_argument("--scope", default="projector")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    point = {"pretrain.method.name": arguments.method, "pretrain.ema.scope": arguments.scope}
    raw = experiment_at(point | {"pretrain.threads": 1}, preset=arguments.preset)
    spec = ExperimentSpec.parse(experiment.resolve(raw, command="").spec).pretrain
    device = Device(torch.device("cpu"), spec.precision)
    trainer = Trainer(spec, load_dataset(spec.data), device, CostMeter(device))
    batches = [batch for epoch in range(4) for batch in trainer.loader.epoch(epoch)]
    steps = iter(batches)

    def timed(measured: bool) -> float:
        trainer._gradients.wants = lambda step: measured  # type: ignore[method-assign]
        start = time.perf_counter()
        trainer.train_step(next(steps))
        return time.perf_counter() - start

    for _ in range(5):
        timed(measured=False)
    ratios = []
    for pair in range(arguments.pairs):
        order = (True, False) if pair % 2 else (False, True)
        seconds = {measured: timed(measured) for measured in order}
        ratios.append(seconds[True] / seconds[False])
    low, high = bootstrap((np.array(ratios),), np.median, rng=0).confidence_interval
    ratio, every = float(np.median(ratios)), spec.monitors.gradient_every
    assert every is not None
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    print(f"{arguments.preset} {arguments.method} {arguments.scope}, {spec.precision}")
    print(f"measured ÷ plain step: {ratio:.3f} [{low:.3f}, {high:.3f}], n={len(ratios)}")
    percent, least, most = (200 * (value - 1) / every for value in (ratio, low, high))
    print(f"overhead at gradient_every={every}: {percent:.2f} % [{least:.2f}, {most:.2f}]")


if __name__ == "__main__":
    main()
