"""What is watched of a learner after every epoch, on the same views of the same images."""

from __future__ import annotations

import torch
from torch import Tensor

from emabench.data.augmentation.augment import Augmenter
from emabench.data.images import Dataset
from emabench.device import Device
from emabench.monitors.representation import (
    alignment,
    effective_rank,
    embedding_std,
    target_gap,
    uniformity,
)
from emabench.spec import PretrainSpec
from emabench.spec.streams import derive
from emabench.training.learner import Learner


class WatchedImages:
    """Two augmented views of some training images, drawn once for the whole run.

    Args:
        spec: says how many images, and with which seed.
        dataset: the images.
        augmenters: of the first and of the second view.
        device: where to compute.
    """

    def __init__(
        self, spec: PretrainSpec, dataset: Dataset, augmenters: list[Augmenter], device: Device
    ) -> None:
        self._device, self._batch_size = device, spec.batch_size
        generator = torch.Generator().manual_seed(derive(spec.seed, "monitor"))
        count = min(spec.monitors.representation_images, len(dataset.train))
        chosen = torch.randperm(len(dataset.train), generator=generator)[:count]
        self._views: tuple[Tensor, ...] = ()
        if count > 1:
            images = torch.from_numpy(dataset.train.images[chosen.numpy()]).to(device.torch)
            self._views = tuple(augment(images, generator) for augment in augmenters)

    @torch.no_grad()
    def measure(self, learner: Learner) -> dict[str, float]:
        """Return the figures of the network as it is, in evaluation mode, by metric name."""
        if not self._views:
            return {}
        was_training = learner.training
        learner.eval()
        try:
            outputs = [self._run(learner, view) for view in self._views]
        finally:
            learner.train(was_training)
        (features, first, first_target), (_, second, second_target) = outputs
        figures = {
            "embedding_std": embedding_std(first),
            "effective_rank": effective_rank(first),
            "feature_rank": effective_rank(features),
            "alignment": alignment(first, second),
            "uniformity": uniformity(first),
        }
        if learner.target.scope.averaged:
            targets = torch.cat([first_target, second_target])
            figures["target_gap"] = target_gap(torch.cat([first, second]), targets)
        return figures

    def _run(self, learner: Learner, view: Tensor) -> tuple[Tensor, ...]:
        """Return features, online embeddings and targets of one view."""
        outputs = []
        for batch in view.split(self._batch_size):
            with self._device.autocast():
                activations = learner.encoder(batch)
                target = learner.target(activations)
                found = [learner.pooled(each) for each in (*activations[-2:], target)]
            # On the CPU, since not every device knows the float64 of the figures.
            outputs.append([each.float().cpu() for each in found])
        return tuple(torch.cat(parts) for parts in zip(*outputs, strict=True))
