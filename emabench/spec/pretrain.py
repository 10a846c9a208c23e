"""The spec of a pretraining job: everything that decides its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from emabench.errors import SpecError
from emabench.spec.data import AugmentationSpec, DataSpec
from emabench.spec.fingerprint import fingerprint
from emabench.spec.model import Options, SpecModel

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32,64}$")]

HUB = "timm"
"""Names the pretrained weights of timm's model, which the hub has."""
GIVEN = {"init": "pretrain.init", "teacher": "pretrain.ema.teacher"}
"""The fields that name weights from elsewhere, by the name of their digest in an identity."""
EXTENDS = "extends"
"""The identity's name for the run that a training goes on from, and for its checkpoint."""

SMALL_NETWORKS: dict[str, dict[str, Any]] = {
    "small-resnet": {
        "name": "resnet18",
        "stem": "original",
        "options": {
            "layers": [1, 1, 1, 1],
            "channels": [16, 48, 128, 256],
            "stem_type": "deep",
            "stem_width": 8,
            "zero_init_last": False,
        },
    },
    "tiny-resnet": {
        "name": "resnet18",
        "stem": "3x3-stride2",
        "options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]},
    },
    "small-vit": {
        "name": "vit_tiny_patch16_224",
        "stem": "3x3",
        "options": {"embed_dim": 128, "depth": 4, "num_heads": 4},
    },
    "tiny-vit": {
        "name": "vit_tiny_patch16_224",
        "stem": "3x3",
        "options": {"embed_dim": 32, "depth": 2, "num_heads": 2},
    },
}
"""The small networks of the presets ``quick`` and ``smoke``: by name, what a resolved spec says."""


class MethodSpec(SpecModel):
    """The self-supervised method and its own options."""

    name: str = "simclr"
    """Name of the method: see ``emabench methods``."""
    options: Options = Field(default_factory=dict)
    """Options of the method; what is left out takes the method's default."""


class BackboneSpec(SpecModel):
    """The backbone: a timm model and how its stem is fitted to the images."""

    name: str = "resnet18"
    """Name of a timm model, ``small-resnet`` or ``tiny-resnet`` for those of the presets ``quick``
    and ``smoke``, ``small-vit`` or ``tiny-vit`` for those of their masked methods, or ``pixels``
    for the raw image: see ``emabench backbones``."""
    stem: Literal["auto", "original", "3x3", "3x3-stride2"] = "auto"
    """``3x3`` is the stride-1 convolution without pooling used for small images (for a ViT or
    Swin: small patches); ``auto`` takes it up to 64 pixels and the model's ``original`` stem
    above."""
    options: Options = Field(default_factory=dict)
    """Parameters of the constructor of timm's model that shape its architecture, for example
    ``zero_init_last: false``; nothing that loads weights or changes what goes in or comes out."""

    def as_timm(self) -> Self:
        """Return the same network as a timm model with options, as a resolved spec says it."""
        small = SMALL_NETWORKS.get(self.name)
        if small is None:
            return self
        stem = small["stem"] if self.stem == "auto" else self.stem
        options = {**small["options"], **self.options}
        return self.model_copy(update={"name": small["name"], "stem": stem, "options": options})


class OptimizerSpec(SpecModel):
    """The optimiser of the online network."""

    added_later = ("final_weight_decay", "layer_decay", "predictor_lr")
    name: str = "sgd"
    """Name of a timm optimiser, for example ``sgd``, ``lars``, ``adamw``."""
    lr: NotNegative = 0.3
    """Peak learning rate for a batch of ``lr_batch`` images; scaled linearly with the batch."""
    lr_batch: Annotated[int, Field(ge=1)] | None = 256
    """The batch that ``lr`` is meant for; None takes ``lr`` as it stands."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the optimiser."""
    weight_decay: NotNegative = 1e-4
    """L2 penalty of the optimiser."""
    final_weight_decay: NotNegative | None = None
    """Penalty of the last step, to which it moves along a half cosine, as DINO's from 0.04 to 0.4
    (arXiv 2104.14294); None keeps it constant."""
    decay_bias_and_norm: bool = True
    """Whether biases and normalisation parameters take weight decay too."""
    clip_grad_norm: Positive | None = None
    """Upper bound on the norm of the whole gradient; None does not clip."""
    options: Options = Field(default_factory=dict)
    """Further keyword arguments of the optimiser, for example ``trust_coeff`` of LARS."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each block of the backbone to the one below it; the last
    block has it once, the projector never. For tuning: 0.65 for an MAE (arXiv 2304.10520)."""
    predictor_lr: Positive = 1.0
    """Factor on the learning rate of the method's predictor, warm-up included: BYOL without EMA
    learns with 10 (arXiv 2006.07733, appendix)."""


class ScheduleSpec(SpecModel):
    """The learning rate over the steps: linear warm-up, then cosine or constant."""

    warmup_epochs: NotNegative = 0.0
    """Epochs of linear warm-up; may be a fraction."""
    warmup_lr: NotNegative = 0.0
    """Learning rate of the first warm-up step, not scaled with the batch."""
    kind: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up."""
    final_lr: NotNegative = 0.0
    """Learning rate at the end of the cosine, not scaled with the batch."""


class EmaSpec(SpecModel):
    """Which blocks the target network averages, and how."""

    added_later = ("decay_batch", "every", "evaluation_decay", "teacher")
    scope: str = "none"
    """``none``, ``projector``, ``backbone``, ``full``, ``from:<block>``, or blocks joined by +."""
    decay: Share = 0.99
    """Share of the old average kept per step: 0 copies, 1 freezes."""
    final_decay: Share = 1.0
    """Decay at the last step of the cosine schedule."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Decay over the steps."""
    decay_batch: Annotated[int, Field(ge=1)] | None = None
    """The batch that the decay is meant for: it is raised to the power of batch size ÷ this
    (arXiv 2307.13813), so that the average spans as many images; None takes it as it stands."""
    every: Annotated[int, Field(ge=1)] | Literal["epoch"] = 1
    """Optimiser steps from one update of the target to the next, or ``epoch``: more than 1 makes a
    stale teacher."""
    evaluation_decay: Share | None = None
    """Keeps an average of the whole backbone with this decay, in every scope, for the evaluation
    alone (``evaluation.network: average``); the training does not see it. None keeps none."""
    teacher: str | None = None
    """A frozen teacher in place of the average, for a scope of all blocks: a finished run whose
    blocks are the same, projector included. It is run in eval mode and never moves, so that decay
    and schedule mean nothing. For an encoder without a projector also a file of weights."""
    buffers: Literal["own", "ema", "copy"] = "own"
    """BatchNorm statistics of the copies: their own, averaged, or copied from the online blocks."""
    target_gradient: Literal["auto", "attach", "detach"] = "auto"
    """Whether a gradient flows through the target of scope ``none``. ``auto`` is the method's own
    definition; ``detach`` is the control arm of a study; other scopes are always detached."""


class MonitorSpec(SpecModel):
    """What is monitored during training; it never changes the weights."""

    gradient_every: Annotated[int, Field(ge=2)] | None = 50
    """Steps from one pair of adjacent steps to the next on which the gradients at the block outputs
    are measured; None measures none."""
    representation_images: Annotated[int, Field(ge=0)] = 512
    """Training images whose embeddings are examined after each epoch; 0 switches it off."""


class ExtendsSpec(SpecModel):
    """The run that a training goes on from: what ``emabench run --extend`` writes, all or nothing.

    The schedules are those of all ``epochs`` of the training, from ``step`` on.
    """

    run: Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")] | None = None
    """Id of the run, among whose files the checkpoint lies; no part of the identity."""
    fingerprint: _Digest | None = None
    """Fingerprint of the run."""
    training: _Digest | None = None
    """What tells its training from others: spec and plugins."""
    checkpoint: _Digest | None = None
    """SHA-256 of the checkpoint."""
    earlier_epochs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Epochs of the schedules before this one: of the run, after those of the runs that it extends
    itself."""
    step: Annotated[int, Field(ge=1)] | None = None
    """Steps that were made under them."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = {value not in (None, ()) for value in dict(self).values()}
        if len(given) > 1:
            raise ValueError(
                "this names only a part of the run to extend; use emabench run --extend"
            )
        return self


class PretrainSpec(SpecModel):
    """One pretraining: method, network, data, optimisation, EMA, seed and device."""

    added_later = ("init", "extends")
    method: MethodSpec = MethodSpec()
    backbone: BackboneSpec = BackboneSpec()
    init: str | None = None
    """Weights that the backbone starts from, in place of fresh ones: a file, a finished run, or
    ``timm`` for the pretrained ones of its model, which the hub is asked for."""
    data: DataSpec = DataSpec()
    augmentation: AugmentationSpec = AugmentationSpec()
    ema: EmaSpec = EmaSpec()
    epochs: Annotated[int, Field(ge=0)] = 100
    """Passes over the training images; 0 evaluates the untrained network."""
    extends: ExtendsSpec = ExtendsSpec()
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stops after this many steps, for smoke tests; the schedules end there too."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Images per step. Each gives two views."""
    views: Literal["separate", "joint"] = "separate"
    """Whether the two views go through the network one by one, as published, or as one batch.
    It changes BatchNorm's statistics, never the EMA semantics."""
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything that is drawn, except the subsets."""
    probe_images: Annotated[int, Field(ge=0)] = 1000
    """Test images that the online probe is scored on after each epoch; 0 switches it off."""
    monitors: MonitorSpec = MonitorSpec()
    checkpoint_epochs: Annotated[int, Field(ge=1)] | None = 1
    """Epochs between two checkpoints; None: the ends of epochs do not count."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps between two checkpoints, in addition to those of the epochs."""
    checkpoint_minutes: Positive | None = None
    """Minutes of training after which the next checkpoint is due, in addition to the others."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or another device of torch."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Devices that train together, each a part of every batch: the batch, the learning rate and the
    negatives stay the same."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto`` is bfloat16 autocast where the device has it natively, else float32."""
    compile: bool = False
    """Whether torch.compile compiles the blocks; the time for it counts as warm-up. A CPU needs a
    C++ compiler."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of torch; None is torch's own choice. Part of the identity of a run."""

    def training_key(self) -> str:
        """Return what tells the files of this training from those of another one.

        Where it is computed, where images and given weights lie and how often a state is saved do
        not count. Neither do fields at their default, so that a field of a later version changes no
        key.
        """
        machine = ("device", "precision", "threads")
        saving = ("checkpoint_epochs", "checkpoint_steps", "checkpoint_minutes")
        defaults = {name: type(self).model_fields[name].default for name in (*machine, *saving)}
        data = self.data.model_copy(update={"data_dir": None})
        places: dict[str, Any] = {"data": data, "init": self.init and HUB}
        if self.ema.teacher is not None:
            places["ema"] = self.ema.model_copy(update={"teacher": HUB})
        what_counts = self.model_copy(update={**defaults, **places})
        return fingerprint(what_counts.model_dump(mode="json", exclude_defaults=True))

    def with_fresh_weights(self) -> Self:
        """Return the same pretraining without given weights: its steps cost the same.

        Raises:
            SpecError: it has a frozen teacher, which costs something else than an average.
        """
        if self.ema.teacher is not None:
            raise SpecError(
                "ema.teacher: a frozen teacher has no scopes to compare",
                hint="leave it out: it costs what scope full does without the update",
            )
        return self.model_copy(update={"init": None})

    @model_validator(mode="after")
    def _ema_is_consistent(self) -> Self:
        if self.ema.schedule == "cosine" and self.ema.final_decay < self.ema.decay:
            raise ValueError(
                f"ema.final_decay {self.ema.final_decay:g} is below ema.decay {self.ema.decay:g}: "
                "raise it too, or set ema.schedule=constant"
            )
        if self.ema.every != 1 and self.ema.decay == 0 and self.ema.schedule == "cosine":
            raise ValueError(
                f"ema.every={self.ema.every} with ema.decay=0: under the cosine schedule to "
                f"{self.ema.final_decay:g} only the first update copies; set ema.schedule=constant"
            )
        return self


def given_runs(pretrain: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the runs whose weights a pretraining is given.

    Args:
        pretrain: its plain values, as resolved.
    """
    named = (pretrain.get("init"), (pretrain.get("ema") or {}).get("teacher"))
    return tuple(
        text
        for text in named
        if isinstance(text, str) and text != HUB and not Path(text).is_absolute()
    )
