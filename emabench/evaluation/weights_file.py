"""A file of weights: what it says of itself, and loading it into a backbone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from emabench.artifacts.files import file_digest
from emabench.artifacts.layout import WEIGHTS
from emabench.artifacts.weights_digest import check_digest
from emabench.errors import EmabenchError, WeightsError
from emabench.evaluation.foreign_weights.backbone_in import account_of, find_backbone
from emabench.evaluation.foreign_weights.tensor_file import FoundTensor, TensorFile
from emabench.evaluation.foreign_weights.torch_file import is_torch_file, open_torch_file
from emabench.spec import PretrainSpec
from emabench.spec.plain import read_json


@dataclass(frozen=True)
class WeightsHeader:
    """What a file of weights says of itself.

    Attributes:
        tensors: what it holds.
        pretrain: fields of the pretraining that made them; None where the file does not say.
        network: whose backbone it is, ``online`` or ``target``; None where it does not say.
        has_digest: whether damage to the file would have been noticed.
    """

    tensors: TensorFile
    pretrain: Mapping[str, Any] | None
    network: str | None = None
    has_digest: bool = False


def read_header(file: Path) -> WeightsHeader:
    """Read what a safetensors file or one of ``torch.save`` holds, and check the digest it carries.

    Raises:
        WeightsError: it cannot be read, is damaged, or is code.
    """
    with _readable(file):
        with file.open("rb") as stream:
            if is_torch_file(stream):
                return WeightsHeader(open_torch_file(file), None)
            has_digest = check_digest(stream)
        opened: Any = safe_open(file, framework="pt")  # until nobody holds its tensors any more
        shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata() or {}
    tensors = {
        name: FoundTensor(tuple(shape), name, partial(opened.get_tensor, name))
        for name, shape in shapes.items()
    }
    spec = _spec_in(metadata, file)
    return WeightsHeader(TensorFile(tensors), spec, metadata.get("network"), has_digest)


def check_origin(file: Path, spec: PretrainSpec, on_note: Callable[[str], None]) -> None:
    """Find out whether a file in the folder of a run holds what its name and the run say.

    Args:
        file: the weights.
        spec: of the pretraining that they should be of.
        on_note: called for a file without a digest.

    Raises:
        WeightsError: they are those of another network or run, or damaged.
    """
    header = read_header(file)
    if not header.has_digest:
        on_note(
            f"{file} was written by an earlier version, without a digest: damage may go unnoticed"
        )
        return
    whose = header.network
    if file.name in WEIGHTS and whose != file.stem:
        raise WeightsError(f"the weights {file} are not those of the {file.stem} network: {whose}")
    try:
        key = PretrainSpec.parse(header.pretrain or {}).training_key()
    except EmabenchError:
        return  # of a version whose specs this one does not read: the digest is right
    if key != spec.training_key():
        raise WeightsError(
            f"the weights {file} are not those of the training that its folder belongs to",
            hint="put the right file back, or repeat the run with --force",
        )


def digest(file: Path) -> str:
    """Return the SHA-256 of a file in hex.

    Raises:
        WeightsError: it cannot be read.
    """
    with _readable(file):
        return file_digest(file)


def load_weights(file: Path, model: nn.Module, *, backbone: str, network: str = "online") -> str:
    """Load a file of weights into a backbone; what else is in the file is left out.

    Args:
        file: safetensors or what ``torch.save`` wrote, of emabench, timm, or a program that has the
            names of timm somewhere below its own.
        model: the backbone.
        backbone: its name, for messages.
        network: whose backbone to take, where the file has several.

    Returns:
        In a line, what was taken, left and missing.

    Raises:
        WeightsError: the file cannot be read, is damaged, or does not have the whole backbone.
        SpecError: it has no backbone of this network, or several.
    """
    state = model.state_dict()
    if not state:
        return f"backbone {backbone} has no weights"
    tensors = read_header(file).tensors
    found = find_backbone(tensors, model, network=network, what=str(file), backbone=backbone)
    with _readable(file):
        read = {own: tensors.tensors[name].read() for own, name in found.names.items()}
    model.load_state_dict(state | read)
    return account_of(found, tensors, what=str(file), backbone=backbone)


def _spec_in(metadata: Mapping[str, str], file: Path) -> Mapping[str, Any] | None:
    try:
        found = read_json(metadata.get("spec", "null"))
    except json.JSONDecodeError:
        return None
    except ValueError as error:
        raise WeightsError(
            f"the spec in the weights {file} has {error}", hint="evaluate weights of another file"
        ) from None
    return found if isinstance(found, dict) else None


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into an error that names it."""
    try:
        if file.exists() and not file.is_file():  # opening a pipe would wait for who writes it
            raise WeightsError(
                f"cannot read the weights {file}: not a regular file", hint="name a file"
            )
        yield
    except EmabenchError:
        raise
    except FileNotFoundError:
        raise WeightsError(
            f"the weights {file} are gone", hint="evaluate a file that exists"
        ) from None
    except Exception as error:  # safetensors, JSON and pickles let many kinds through
        reason = error.strerror if isinstance(error, OSError) else None
        raise WeightsError(
            f"cannot read the weights {file}: "
            f"{reason or 'this is not a complete safetensors file, nor one of torch.save'}",
            hint="safetensors.torch.save_file(model.state_dict(), file) writes one",
        ) from None
