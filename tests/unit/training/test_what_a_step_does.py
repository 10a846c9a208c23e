"""What a step does beside the update of the weights: views, queue, probe, clipping, precision."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.testing import resolved
from emabench.training.trainer import Trainer

CPU = Device(torch.device("cpu"), "fp32")


def trainer_of(method="moco", scope="projector", device=CPU, **fields):
    spec = resolved(method, scope, **fields).pretrain
    trainer = Trainer(spec, load_dataset(spec.data), device, CostMeter(device))
    trainer.start(0)
    return trainer


def test_a_step_has_views_of_its_own_and_its_keys_join_the_queue():
    trainers = [trainer_of(seed=seed) for seed in (0, 1)]
    views, keys = [], []
    batch = next(trainers[0].loader.epoch(0))  # the same images each time

    def keep(module, inputs, output):
        views.extend(inputs[0].values())
        keys.append(output.targets)

    for trainer in trainers:
        trainer.learner.register_forward_hook(keep)
        for _ in range(2):
            trainer.train_step(batch)
    assert len(views) == 8
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(views, 2))
    queue = trainers[0].learner.method.queue
    count = len(batch.labels)
    assert queue.enqueued == 2 * count
    for view in range(2):
        pushed = F.normalize(torch.cat([keys[0][view], keys[1][view]]), dim=1)
        torch.testing.assert_close(queue[view][: 2 * count], pushed)


def test_images_come_in_another_order_in_every_epoch_and_for_every_seed():
    loaders = [trainer_of(seed=seed).loader for seed in (0, 1)]
    orders = [
        torch.cat([batch.indices for batch in loader.epoch(epoch)]).tolist()
        for loader in loaders
        for epoch in (0, 1)
    ]
    assert len(set(map(tuple, orders))) == 4
    assert all(len(set(order)) == len(order) for order in orders)


def test_the_online_probe_learns():
    trainer = trainer_of()
    before = [p.detach().clone() for p in trainer._probe.parameters()]
    trainer.train_step(next(trainer.loader.epoch(0)))
    assert not all(map(torch.equal, before, trainer._probe.parameters()))


def test_the_gradient_is_clipped_before_the_step():
    norms = {}
    for bound in (None, 0.01):
        trainer = trainer_of("simclr", optimizer__clip_grad_norm=bound)

        def keep(*_, trainer=trainer, bound=bound):
            gradients = [p.grad for p in trainer.online.parameters() if p.grad is not None]
            norms[bound] = torch.nn.utils.get_total_norm(gradients).item()

        trainer._optimizer.register_step_pre_hook(keep)
        trainer.train_step(next(trainer.loader.epoch(0)))
    assert norms[None] > 0.02
    assert 0.0099 < norms[0.01] < 0.0101


def test_in_bfloat16_the_network_computes_in_it_and_the_loss_in_float32():
    trainer = trainer_of("simclr", "full", Device(torch.device("cpu"), "bf16"))
    convolution = next(m for m in trainer.learner.modules() if isinstance(m, nn.Conv2d))
    seen = []
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    loss_of = trainer.learner.method.loss

    def loss(online, target):
        seen.append(torch.is_autocast_enabled("cpu"))
        seen.extend(view.dtype for view in (*online, *target))
        return loss_of(online, target)

    trainer.learner.method.loss = loss
    found = trainer.train_step(next(trainer.loader.epoch(0)))
    assert seen[0] is torch.bfloat16
    of_loss = [each for each in seen if each is not torch.bfloat16]
    assert set(of_loss) == {False, torch.float32}
    assert len(of_loss) == 2 * (1 + 4), "both roles, four embeddings each, all in float32"
    assert found.dtype is torch.float32
