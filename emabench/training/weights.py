"""The weights that a pretraining leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save
from torch import nn

from emabench.artifacts.layout import PROJECTOR_FILE, attempt_folders
from emabench.artifacts.weights_digest import with_digest
from emabench.errors import NotFoundError
from emabench.networks.backbone import build_backbone
from emabench.spec import PretrainSpec
from emabench.spec.scope import PROJECTOR
from emabench.training.checkpoint import replaced

if TYPE_CHECKING:
    from emabench.training.trainer import Trainer


def save_weights(trainer: Trainer, spec: PretrainSpec, folder: Path) -> None:
    """Write the backbones under timm's own names: ``checkpoint_path`` of ``create_model``.

    The online projector, if it has weights, lies beside them in a file of its own.
    """
    learner = trainer.learner
    (online,) = learner.backbone
    _write(folder / "online.safetensors", online.model, spec)
    projector = learner.encoder.blocks[PROJECTOR]
    if projector.state_dict():
        _write(folder / PROJECTOR_FILE, projector, spec)
    if any(name != PROJECTOR for name in learner.target.scope.averaged):
        with torch.random.fork_rng(devices=[]):
            target = build_backbone(spec.backbone, trainer.image_size)
        for name, block in target.blocks.items():
            block.load_state_dict(learner.target.block(name).state_dict())
        _write(folder / "target.safetensors", target.model, spec)
    if (average := trainer.average()) is not None:
        _write(folder / "average.safetensors", average, spec)


def _write(path: Path, model: nn.Module, spec: PretrainSpec) -> None:
    state = model.state_dict()
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    metadata = {"spec": spec.model_dump_json(), "network": path.stem}
    with replaced(path) as file:
        file.write(with_digest(save(tensors), metadata))


def weights_file(artifacts: Path, run_id: str, network: str = "online") -> Path:
    """Return the weights of a finished pretraining job; the newest attempt counts.

    Args:
        artifacts: the folder of all artefacts.
        run_id: id of the run, that is of its pretraining job.
        network: ``online``, ``target`` or ``average``; where the target averages no block of the
            backbone, its backbone is the online one.

    Raises:
        NotFoundError: there are no weights.
    """
    for folder in attempt_folders(artifacts, run_id):
        for name in ("target", "online") if network == "target" else (network,):
            if (folder / f"{name}.safetensors").exists():
                return folder / f"{name}.safetensors"
    which = "" if network == "online" else f" of its {network} network"
    raise NotFoundError(
        f"run {run_id} has no weights{which} in {artifacts}",
        hint="is the run done? --artifacts says where its files are",
    )
