"""Views per second of the batched augmentation and of torchvision's pipeline on PIL images.

    python tests/benchmarks/augmentation.py [--rounds 9] [--images 512] [--size 32]

One thread, interleaved rounds, median with minimum and maximum. The images are those of
fashion-mini, tinted per channel so that the colour operations have work to do.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision import transforms as T

from emabench.data.augmentation.augment import Augmenter
from emabench.data.sources.fashion_mini import read_split
from emabench.spec.data import ViewSpec

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def colour_images(count: int, size: int) -> np.ndarray:
    grey, _ = read_split("train")
    rng = np.random.default_rng(0)
    tint = rng.uniform(0.3, 1.0, (count, 1, 1, 3))
    rows = [np.asarray(Image.fromarray(g).resize((size, size))) for g in grey[:count]]
    return (np.stack(rows)[..., None] * tint).astype(np.uint8)


def pillow_pipeline(size: int, *, blur: bool) -> T.Compose:
    steps: list[Callable[..., object]] = [
        T.RandomResizedCrop(size, interpolation=T.InterpolationMode.BICUBIC),
        T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
        T.RandomGrayscale(0.2),
    ]
    if blur:
        steps.append(T.RandomApply([T.GaussianBlur(3, (0.1, 2.0))], p=0.5))
    return T.Compose([*steps, T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def show(name: str, values: list[float], form: str) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"  {name:<12}{middle:>10{form}}  [{low:{form}}, {high:{form}}]  n={len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor()}, 1 thread, torch {torch.__version__}, ", end="")
    print(f"torchvision {torchvision.__version__}, {arguments.size} px")
    arrays = colour_images(arguments.images, arguments.size)
    tensors = torch.from_numpy(arrays)
    pictures = [Image.fromarray(image) for image in arrays]
    for blur in (False, True):
        view = ViewSpec(
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            blur_probability=0.5 if blur else 0.0,
        )
        augmenter = Augmenter(view, arguments.size, MEAN, STD, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        pipeline = pillow_pipeline(arguments.size, blur=blur)

        def batched(augmenter: Augmenter = augmenter, g: torch.Generator = generator) -> None:
            for part in tensors.split(256):
                augmenter(part, g)

        def per_sample(pipeline: T.Compose = pipeline) -> None:
            for picture in pictures:
                pipeline(picture)

        batched()
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(rate(len(pictures), batched))
            theirs.append(rate(len(pictures), per_sample))
        print("with blur (3 px, p 0.5)" if blur else "without blur")
        show("emabench/s", ours, ".0f")
        show("PIL/s", theirs, ".0f")
        show("ratio", [a / b for a, b in zip(ours, theirs, strict=True)], ".1f")


if __name__ == "__main__":
    main()
