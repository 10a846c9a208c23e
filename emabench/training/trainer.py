"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from emabench.cost.meter import CostMeter
from emabench.data.augmentation.augment import Augmenter, normalize
from emabench.data.images import Dataset
from emabench.data.loader import Batch, EpochLoader
from emabench.data.reading import read_batches
from emabench.device import Device
from emabench.ema import DecaySchedule
from emabench.errors import InterruptedRunError, TrainingError
from emabench.evaluation.features import extract_features
from emabench.evaluation.online_probe import OnlineProbe
from emabench.events import EpochProgress, Listener, StepProgress
from emabench.methods._method import TrainingSet
from emabench.monitors.gradients import GradientMonitor
from emabench.networks.small_maps import has_miscomputed, mend_convolutions
from emabench.records import MetricPoint
from emabench.spec import PretrainSpec
from emabench.spec.streams import derive
from emabench.training.checkpoint import CheckpointClock
from emabench.training.given_weights import NOTHING, Given
from emabench.training.learner import Learner, StepOutput
from emabench.training.optimizer import (
    LearningRate,
    WeightDecay,
    build_optimizer,
    held_rates,
)
from emabench.training.step_flops import step_flops
from emabench.training.watched import WatchedImages
from emabench.training.world import ALONE, World

_WARMUP_STEPS = 5
_WINDOW_STEPS = 10
_SAMPLED_STEPS = 2
_SAMPLE_EVERY = 20
"""One window of so many is short and has the phases of its steps timed."""


class Trainer:
    """Trains one learner; its state is complete, so that a resumed training continues exactly.

    Args:
        spec: a resolved spec.
        dataset: the images.
        device: where and in which precision to compute.
        meter: records where the time goes.
        world: the processes that train together; each has a trainer.
        given: the weights that the spec names.
    """

    def __init__(
        self,
        spec: PretrainSpec,
        dataset: Dataset,
        device: Device,
        meter: CostMeter,
        world: World = ALONE,
        given: Given = NOTHING,
    ) -> None:
        self._world = world
        self._spec, self._dataset, self._device, self._meter = spec, dataset, device, meter
        self.loader = EpochLoader(dataset.train, spec.batch_size, spec.seed, device.torch)
        statistics = (dataset.mean, dataset.std, device.torch)
        augmentation = spec.augmentation
        self._augmenters = [
            Augmenter(view, dataset.image_size, *statistics) for view in augmentation.views()
        ]
        if augmentation.local_views.count:
            assert augmentation.local_views.size is not None
            local = Augmenter(augmentation.local_view(), augmentation.local_views.size, *statistics)
            self._augmenters += [local] * augmentation.local_views.count
        self._generator = torch.Generator()  # on the CPU: every device sees the same views
        self._generator_of_loss = torch.Generator()
        self.image_size = dataset.image_size
        self.data = TrainingSet(len(dataset.train), len(dataset.classes))
        self.learner = Learner(spec, dataset.image_size, self.data, meter.clock, given)
        self.learner.to(device.torch)
        sizes = set(self.learner.sizes.values())
        if has_miscomputed(device, self.learner.backbone[0].model, sizes):
            mend_convolutions(self.learner)
        self.online = self.learner.online_parts()
        constant = [f"method.{name}" for name in self.learner.method.constant_lr]
        self._optimizer = build_optimizer(
            spec.optimizer,
            self.online,
            spec.batch_size,
            constant_lr=constant,
            predictor="method.predictor",
        )
        self.steps_per_epoch = self.loader.steps_per_epoch
        self.total_steps = spec.epochs * self.steps_per_epoch
        if spec.max_steps is not None:
            self.total_steps = min(self.total_steps, spec.max_steps)
        self._decay = DecaySchedule(spec.ema, self.total_steps, spec.batch_size)
        self._held_decay = device.hold(spec.ema.decay)
        every = spec.ema.every
        self._ema_every = self.steps_per_epoch if every == "epoch" else every
        self._lr = LearningRate(
            spec.schedule,
            self._optimizer,
            self.steps_per_epoch,
            self.total_steps,
            held_rates(spec.optimizer, self._optimizer, device),
        )
        self._weight_decay = WeightDecay(spec.optimizer, self._optimizer, self.total_steps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(spec.seed, "probe"))
            self._probe = OnlineProbe(self.learner.feature_dim, max(1, len(dataset.classes)))
            self._probe.to(device.torch)
        blocks = self.learner.encoder.block_names
        self._gradients = GradientMonitor(
            blocks[:-1] if self.learner.masks else blocks,
            spec.monitors.gradient_every,
            world.mean,
            of_tokens=self.learner.masks,
        )
        self._watched = WatchedImages(spec, dataset, self._augmenters[:2], device)
        self._checkpoints = CheckpointClock(spec)
        self.step = 0
        self.online_top1: float | None = None
        self.representation: dict[str, float] = {}
        self._epoch_losses: list[float] = []
        self._windows = 0
        meter.flops_per_step = step_flops(self.learner, spec.batch_size)
        if spec.compile:
            self.learner.compile_blocks()
        meter.ema_bytes = self.learner.ema_bytes
        meter.ema_bytes_moved = self.learner.update_bytes(self._ema_every)
        self.learner.world = world
        self._forward = world.wrap(self.learner)

    def fit(
        self,
        *,
        on_event: Listener,
        record: Callable[[Iterable[MetricPoint]], None],
        save: Callable[[dict[str, Any]], None],
        stop: Callable[[], bool],
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train from the current step to the last one.

        Args:
            on_event: listens.
            record: given the metrics of each epoch.
            save: given the whole state when the spec says so, when stopped, and at the end.
            stop: asked after every step whether to stop.
            on_step: called after every step.

        Raises:
            TrainingError: a loss was not finite; the message names the step.
            InterruptedRunError: ``stop`` said so; the state was saved.
        """
        while self.step < self.total_steps:
            epoch, start = divmod(self.step, self.steps_per_epoch)
            self.start(epoch)
            batches = islice(self.loader.epoch(epoch, start), self.total_steps - self.step)
            while losses := self._window(batches, stop, on_step):
                self._check(losses)
                on_event(self._progress(epoch, losses))
                if self.step % self.steps_per_epoch and self.step < self.total_steps:
                    self._save_or_leave(save, stop, self._checkpoints.is_due(self.step))
            on_event(self._end_epoch(epoch, record))
            if self.step < self.total_steps:
                due = self._checkpoints.is_due(self.step, epochs=epoch + 1)
                self._save_or_leave(save, stop, due)
            else:
                save(self.state_dict())

    def _save_or_leave(
        self, save: Callable[[dict[str, Any]], None], stop: Callable[[], bool], due: bool
    ) -> None:
        """Save if a checkpoint is due or the training is to stop.

        Raises:
            InterruptedRunError: it was to stop.
        """
        leaving = self._world.agree(stop())
        if due or leaving:
            save(self.state_dict())
            self._checkpoints.saved()
        if leaving:
            raise InterruptedRunError(f"stopped after step {self.step} of {self.total_steps}")

    def _window(
        self, batches: Iterator[Batch], stop: Callable[[], bool], on_step: Callable[[], None]
    ) -> list[float]:
        """Make the next few steps without waiting for the device in between; return the losses."""
        warm, sampled = self._windows > 0, self._windows % _SAMPLE_EVERY == 1
        size = _SAMPLED_STEPS if sampled else _WINDOW_STEPS
        if not warm:
            size = max(1, min(_WARMUP_STEPS, self.total_steps // 2))
        size = min(size, self._checkpoints.steps_left(self.step) or size)
        losses: list[Tensor] = []
        with self._meter.window("train" if warm else "warmup", sampled=sampled):
            for batch in self._meter.awaited(islice(batches, size)):
                losses.append(self.train_step(batch))
                self._meter.step(len(batch.labels))
                on_step()
                if self._world.agree(stop()):
                    break
        self._windows += bool(losses)
        return torch.stack(losses).tolist() if losses else []

    def start(self, epoch: int) -> None:
        """Prepare the networks for the steps of an epoch, counted from 0."""
        self.learner.train()
        self.learner.begin_epoch(epoch)

    def endless(self) -> Iterator[Batch]:
        """Yield the batches of epoch after epoch, for whoever makes the steps without ``fit``."""
        return chain.from_iterable(self.loader.epoch(epoch) for epoch in count())

    def train_step(self, batch: Batch) -> Tensor:
        """Augment, forward, backward, optimise, average: one step, nothing waits for the device.

        Returns the loss, a detached scalar on the device.
        """
        self._generator.manual_seed(derive(self._spec.seed, "augment", self.step))
        rank = self._world.rank  # the first draws what one device alone does, the others others
        torch.manual_seed(derive(self._spec.seed, "dropout", self.step, *([rank] if rank else [])))
        self._generator_of_loss.manual_seed(derive(self._spec.seed, "loss", self.step))
        phase = self._meter.clock.phase
        with phase("augment"):
            self.learner.method.begin_step(self._generator_of_loss)
            part = self._world.part(len(batch.labels))
            views = {
                view: self._augmenters[view](batch.images, self._generator, part)
                for view in self.learner.sizes
            }
        with self._device.autocast():
            output = self._forward(views, self._labels_of(batch))
        with phase("backward"):
            self._backward(output)
        with phase("optimizer"):
            self._lr.set(self.step)
            self._weight_decay.set(self.step)
            if self._spec.optimizer.clip_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(
                    self.online.parameters(), self._spec.optimizer.clip_grad_norm
                )
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        with phase("ema_update"):
            if (self.step + 1) % self._ema_every == 0:
                decay, held = self._decay(self.step), self._held_decay
                self.learner.target.update(decay if held is None else held.fill_(decay))
            if self.learner.average is not None:
                assert self._spec.ema.evaluation_decay is not None
                self.learner.average.update(self._spec.ema.evaluation_decay if self.step else 0.0)
        self.learner.method.remember(output.targets)
        if self._spec.probe_images:
            features = output.features[: part.stop - part.start]
            self._probe.learn(self._world.gather(features), batch.labels)
        self.step += 1
        return output.loss.detach()  # type: ignore[no-any-return]

    def _backward(self, output: StepOutput) -> None:
        """Compute the gradients; on some steps, look at those of the block outputs."""
        watching = self._gradients.wants(self.step)
        if watching:
            self._gradients.watch(output.activations)
        output.objective.backward()
        if watching:
            self._gradients.measure(output.activations)

    def _labels_of(self, batch: Batch) -> Tensor | None:
        """Return what a method without a target learns to predict."""
        if self.learner.method.labels == "images":
            return batch.indices.to(batch.labels.device, non_blocking=True)
        return batch.labels if self.learner.method.labels == "classes" else None

    def _check(self, losses: list[float]) -> None:
        """Take in the losses of the last steps.

        Raises:
            TrainingError: one is not finite.
        """
        for step, loss in enumerate(losses, start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {step} of {self.total_steps}",
                    hint="lower --lr, or set schedule.warmup_epochs or optimizer.clip_grad_norm",
                )
        self._epoch_losses += losses

    def _progress(self, epoch: int, losses: list[float]) -> StepProgress:
        return StepProgress(
            step=self.step,
            total_steps=self.total_steps,
            epoch=epoch + 1,
            epochs=self._spec.epochs,
            steps_per_epoch=self.steps_per_epoch,
            loss=losses[-1],
            images_per_second=self._meter.last_speed,
        )

    def _end_epoch(
        self, epoch: int, record: Callable[[Iterable[MetricPoint]], None]
    ) -> EpochProgress:
        """Score the online probe and record the epoch."""
        loss = math.fsum(self._epoch_losses) / len(self._epoch_losses)
        first = self._optimizer.param_groups[0]
        values = {
            "loss": loss,
            "lr": self.learning_rate / first.get("lr_scale", 1.0),
            "decay": self._decay(self.step - 1),
        }
        if self._spec.probe_images and self._world.is_first:
            with self._meter.phase("probe"):
                values["online_top1"] = self.online_top1 = self._score_probe()
        with self._meter.phase("monitor"):
            if self._world.is_first:
                self.representation = self._watched.measure(self.learner)
            values |= self.representation | self._gradients.end_epoch()
        self._meter.others = self._world.other_readings(self._meter.read())
        record([MetricPoint(self.step, epoch + 1, name, value) for name, value in values.items()])
        self._epoch_losses = []
        return EpochProgress(
            epoch=epoch + 1,
            epochs=self._spec.epochs,
            loss=loss,
            online_top1=self.online_top1,
            images_per_second=self._meter.last_speed,
        )

    def _score_probe(self) -> float:
        """Return the probe's top-1 in percent on the first ``probe_images`` of a fixed shuffle."""
        test = self._dataset.test
        generator = torch.Generator().manual_seed(derive(self._spec.seed, "probe"))
        chosen = torch.randperm(len(test), generator=generator)[: self._spec.probe_images].numpy()
        features, labels = extract_features(
            self.learner.backbone_of("online"),
            test.take(chosen),
            mean=self._dataset.mean,
            std=self._dataset.std,
            device=self._device,
            batch_size=self._spec.batch_size,
        )
        return self._probe.top1(features, labels)

    def average(self) -> nn.Module | None:
        """Return the averaged backbone with BatchNorm statistics of its own; None if none is kept.

        They are measured on all training images that fill a batch of the training's size, in an
        order of their own, without augmentation.
        """
        average = self.learner.average
        if average is None:
            return None
        images, size = self._dataset.train, self._spec.batch_size
        generator = torch.Generator().manual_seed(derive(self._spec.seed, "average"))
        order = torch.randperm(len(images), generator=generator).numpy()
        rows = (order[start : start + size] for start in range(0, len(images) - size + 1, size))
        mean, std = self._dataset.mean, self._dataset.std
        backbone = average.block("backbone")
        with self._device.autocast():
            update_bn(
                (
                    normalize(torch.from_numpy(batch).to(self._device.torch), mean, std)
                    for batch in read_batches(images.images, rows)
                ),
                backbone,
            )
        return backbone

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def schedules_now(self) -> tuple[float, float]:
        """Return the learning rate and the EMA decay of the next step."""
        self._lr.set(self.step)
        return self.learning_rate, self._decay(self.step)

    def meter_state(self) -> dict[str, Any]:
        """Return what has been measured of the steps of this run."""
        return self._meter.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on: tensors and plain values."""
        return {
            "step": self.step,
            "epoch_losses": list(self._epoch_losses),
            "online_top1": self.online_top1,
            "representation": dict(self.representation),
            "gradients": self._gradients.state_dict(),
            "learner": self.learner.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "probe": self._probe.state_dict(),
            "probe_optimizer": self._probe.optimizer_state(),
            "meter": self._meter.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.learner.load_state_dict(state["learner"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._probe.load_state_dict(state["probe"])
        self._probe.load_optimizer_state(state["probe_optimizer"])
        self._meter.load_state_dict(state["meter"])
        self.step = state["step"]
        self._epoch_losses = list(state["epoch_losses"])
        self.online_top1 = state["online_top1"]
        self.representation = dict(state["representation"])
        self._gradients.load_state_dict(state["gradients"], self._device.torch)
