"""SimCLR here against a plain loop with lightly: images/s, windows in turns in one process.

    pip install -e '.[parity]'
    python tests/benchmarks/against_lightly.py --data-dir IMAGES [--small] [--precision fp32]

The plain loop is the one of lightly's examples: its transform (without blur, at 32 px), its loss
and head on the same timm backbone, torch's DataLoader over the image folder with 2 workers, SGD,
float32. Here the run is a real one, as ``training_loop.py`` makes it. With --precision fp32 both
compute alike; otherwise each does as it comes.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from measuring import machine, parser, ratio, spec_of, trainer_of
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from emabench import device as devices
from emabench.errors import InterruptedRunError
from emabench.events import Event, StepProgress
from emabench.networks.backbone import build_backbone
from emabench.spec import PretrainSpec


class PlainLoop:
    """A training loop as one writes it on a first day with lightly."""

    def __init__(self, spec: PretrainSpec, folder: str, image_size: int) -> None:
        transform = SimCLRTransform(input_size=image_size, gaussian_blur=0.0)
        loader = DataLoader(
            ImageFolder(folder, transform=transform),
            batch_size=spec.batch_size, shuffle=True, drop_last=True, num_workers=2,
            persistent_workers=True,
        )  # fmt: skip
        self._batches: Iterator = itertools.chain.from_iterable(loader for _ in itertools.count())
        backbone = build_backbone(spec.backbone, image_size)
        head = SimCLRProjectionHead(backbone.feature_dim, 2048, 256)
        self._model = nn.Sequential(backbone.model, head)
        self._loss = NTXentLoss(temperature=0.2)
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4
        )

    def step(self) -> None:
        (first, second), _ = next(self._batches)
        loss = self._loss(self._model(first), self._model(second))
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--windows", type=int, default=8, help="pairs of windows")
    flags.add_argument("--plain-steps", type=int, default=0, help="steps of a plain window")
    arguments = flags.parse_args()
    if arguments.data_dir is None:
        flags.error("the plain loop reads an image folder: --data-dir")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    with devices.threads(arguments.threads):
        spec = spec_of(arguments)
        trainer, meter, device = trainer_of(spec)
        train = arguments.data_dir / "train"
        folder = train if train.is_dir() else arguments.data_dir
        plain = PlainLoop(spec, str(folder), trainer.image_size)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(2):
            plain.step()

        def on_event(event: Event) -> None:
            if not isinstance(event, StepProgress) or len(meter.windows) == len(ours):
                return
            ours.append(meter.windows[-1])
            steps = arguments.plain_steps or 5
            start = time.perf_counter()
            for _ in range(steps):
                plain.step()
            theirs.append(steps * spec.batch_size / (time.perf_counter() - start))

        with suppress(InterruptedRunError):
            trainer.fit(
                on_event=on_event,
                record=lambda points: None,
                save=lambda state: None,
                stop=lambda: len(ours) >= arguments.windows,
            )
    print(machine(device))
    what = "small ResNet" if arguments.small else "ResNet-18"
    print(
        f"{what}, batch {spec.batch_size}, {trainer.image_size} px, simclr none, {spec.precision}"
    )
    print(f"here {np.median(ours):.0f} images/s, plain lightly {np.median(theirs):.0f} images/s")
    print(f"here ÷ plain lightly: {ratio(ours, theirs)}")


if __name__ == "__main__":
    main()
