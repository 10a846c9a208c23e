"""Training on a folder of large JPEG files, by where the decoded images are kept.

    python tests/benchmarks/loading.py [--files 500] [--size 224] [--batch 16] [--budget 64MiB]

Makes JPEG files of 300 to 600 pixels, with the detail of photographs, and measures

- ``bare``: forward, backward and optimiser step of a ResNet-18 on the views of one resident batch;
- ``cache``: the same steps on two fresh views of each batch that the loader gives, with the images
  in the cache on the disk;
- ``none``: the same where the decoded images are larger than the budget, so that ``auto`` keeps
  them nowhere.

Each pass of a mode is a process of its own, the modes interleaved. Memory is that of the process
and those that decode for it, beyond ``bare``: the largest sum of their private memory and of the
mapped cache. Decoding alone, without steps, says how many cores it uses and how much faster it is
than one core that does nothing else. Medians over the rounds with minimum and maximum.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

MODES = ("bare", "cache", "none")


def make_files(root: Path, count: int) -> None:
    """Write smooth shapes with fine texture: about the bytes per pixel of photographs."""
    generator = np.random.default_rng(0)
    for index in range(count):
        width, height = generator.integers(300, 601, 2)
        coarse = generator.integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC)
        texture = generator.normal(0, 6, (height, width, 1))
        pixels = np.clip(np.asarray(smooth) + texture, 0, 255).astype(np.uint8)
        # A folder without test/ has a part of every class held out: one in twenty.
        folder = root / f"class{index % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index:04}.jpg", quality=90)


class PeakMemory:
    """The largest private and mapped-cache memory of this process and its children, sampled."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self.bytes = max(self.bytes, tree_memory())


def tree_memory() -> int:
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_full_info().uss
            maps = process.memory_maps() if process == own else ()
            total += sum(each.rss - each.private_clean - each.private_dirty
                         for each in maps if each.path.endswith(".npy"))  # fmt: skip
        except psutil.Error:
            continue
    return total


def cpu_seconds() -> float:
    own = psutil.Process()
    spent = 0.0
    for process in (own, *own.children(recursive=True)):
        times = process.cpu_times()
        spent += times.user + times.system
    return spent


def load(arguments: argparse.Namespace) -> Any:
    from emabench.data.images import load_dataset
    from emabench.spec import DataSpec

    spec = DataSpec(
        dataset="folder", data_dir=arguments.folder, image_size=arguments.size, test_fraction=0.05
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_dataset(spec)
    return data, [str(each.message) for each in caught]


def steps_of(arguments: argparse.Namespace, data: Any) -> Callable[[Any], None]:
    """Return what trains a classifier on two views of a batch; ``bare`` makes them only once."""
    import torch
    import torch.nn.functional as F

    from emabench.data.augmentation.augment import Augmenter
    from emabench.device import Device, choose_precision
    from emabench.networks.backbone import build_backbone
    from emabench.spec.data import ViewSpec
    from emabench.spec.pretrain import BackboneSpec

    cpu = torch.device("cpu")
    device = Device(cpu, choose_precision(cpu))
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec(name="resnet18"), arguments.size)
    model = torch.nn.Sequential(backbone.model, torch.nn.Linear(backbone.feature_dim, 5))
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    augment = Augmenter(ViewSpec(), arguments.size, data.mean, data.std, cpu)
    generator = torch.Generator().manual_seed(0)
    made: list[Any] = []

    def step(batch: Any) -> None:
        if not (made and arguments.mode == "bare"):
            made[:] = [torch.cat([augment(batch.images, generator) for _ in range(2)])]
        with device.autocast():
            loss = F.cross_entropy(model(made[0]), batch.labels.repeat(2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def batches_of(arguments: argparse.Namespace, data: Any) -> Iterator[Any]:
    import torch

    from emabench.data.loader import EpochLoader

    loader = EpochLoader(data.train, arguments.batch, 0, torch.device("cpu"))
    epoch = 0
    while True:
        batches = loader.epoch(epoch)
        if arguments.mode == "bare":
            first = next(batches)
            while True:
                yield first
        yield from batches
        epoch += 1


def measure(arguments: argparse.Namespace) -> None:
    """Time one mode in this process, and print the figures as JSON."""
    import torch

    torch.set_num_threads(arguments.threads)
    data, told = load(arguments)
    batches = batches_of(arguments, data)
    if arguments.mode == "decode":
        next(batches)
        start, spent = time.perf_counter(), cpu_seconds()
        for _ in range(arguments.steps):
            next(batches)
        wall = time.perf_counter() - start
        figures = {"cores": (cpu_seconds() - spent) / wall, "speed": arguments.steps / wall}
        print(json.dumps({**figures, "kind": type(data.train.images).__name__, "told": told}))
        return
    step = steps_of(arguments, data)
    for _ in range(2):
        step(next(batches))
    with PeakMemory() as peak:
        start = time.perf_counter()
        for _ in range(arguments.steps):
            step(next(batches))
        wall = time.perf_counter() - start
        time.sleep(0.3)
    kind = type(data.train.images).__name__
    print(json.dumps({"speed": arguments.steps / wall, "memory": peak.bytes, "kind": kind,
                      "told": told}))  # fmt: skip


def one_core(arguments: argparse.Namespace) -> float:
    """Return the batches per second that one thread decodes."""
    from emabench.data.decode import decode

    files = sorted(Path(arguments.folder).rglob("*.jpg"))[:100]
    start = time.perf_counter()
    for file in files:
        decode(file, arguments.size, "center")
    return len(files) / arguments.batch / (time.perf_counter() - start)


def run(arguments: argparse.Namespace, mode: str, cache: str | None) -> dict[str, Any]:
    words = [sys.executable, __file__, "--mode", mode, "--folder", arguments.folder]
    for name in ("size", "batch", "steps", "threads"):
        words += [f"--{name}", str(getattr(arguments, name))]
    settings = {"EMABENCH_CACHE": f"{arguments.folder}-cache"}
    if cache is not None:
        settings["EMABENCH_CACHE_MODE"] = cache
    if mode in ("none", "decode"):
        settings["EMABENCH_CACHE_BUDGET"] = arguments.budget
    done = subprocess.run(
        words, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(name: str, values: list[float], form: str) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"  {name:<34}{middle:>9{form}}  [{low:{form}}, {high:{form}}]  n={len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--budget", default="64MiB")
    parser.add_argument("--folder", help="where the files are, or shall be made")
    parser.add_argument("--mode", choices=(*MODES, "decode"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.mode is not None:
        measure(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = arguments.folder or f"{temporary}/images"
        if not Path(arguments.folder).exists():
            make_files(Path(arguments.folder), arguments.files)
        caches = {"bare": "disk", "cache": "disk", "none": None, "decode": None}
        for mode in ("bare", "decode"):  # makes the cache; knows the statistics
            run(arguments, mode, "disk" if mode == "bare" else "none")
        found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in caches}
        for _ in range(arguments.rounds):
            for mode, cache in caches.items():
                found[mode].append(run(arguments, mode, cache))
        alone = [one_core(arguments) for _ in range(arguments.rounds)]
    report(arguments, found, alone)


def report(
    arguments: argparse.Namespace, found: dict[str, list[dict[str, Any]]], alone: list[float]
) -> None:
    import torch

    from emabench.data.cache.cache_mode import parse_bytes
    from emabench.device import choose_precision

    precision = choose_precision(torch.device("cpu"))
    print(
        f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}, {precision}"
    )
    print(f"{arguments.files} JPEG files, {arguments.size} px, ResNet-18, batches of", end=" ")
    print(f"{arguments.batch}, {arguments.steps} steps a round")
    kinds = {mode: each[0]["kind"] for mode, each in found.items()}
    print(f"images: {kinds['cache']} with the cache, {kinds['none']} within {arguments.budget}")
    batch = arguments.batch
    for mode in MODES:
        show(f"{mode}, images/s", [batch * each["speed"] for each in found[mode]], ".1f")
    for mode in ("cache", "none"):
        pairs = zip(found[mode], found["bare"], strict=True)
        show(f"{mode} ÷ bare", [a["speed"] / b["speed"] for a, b in pairs], ".3f")
    for mode in ("cache", "none"):
        pairs = zip(found[mode], found["bare"], strict=True)
        extra = [(a["memory"] - b["memory"]) / 2**20 for a, b in pairs]
        show(f"{mode}, memory beyond bare, MiB", extra, ".1f")
    print(f"  the budget of none is {parse_bytes(arguments.budget) / 2**20:.0f} MiB")
    decode = found["decode"]
    show("decoding alone, images/s", [batch * each["speed"] for each in decode], ".1f")
    show("decoding alone, cores used", [each["cores"] for each in decode], ".2f")
    ratios = [a["speed"] / b for a, b in zip(decode, alone, strict=True)]
    show("decoding ÷ that of one core", ratios, ".2f")


if __name__ == "__main__":
    main()
