"""A file of weights: what it says of itself, whether it fits a backbone, and loading it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from emabench.artifacts.layout import WEIGHTS
from emabench.artifacts.weights_digest import check_digest
from emabench.errors import EmabenchError, WeightsError
from emabench.spec import PretrainSpec
from emabench.spec.plain import read_json

Shapes = Mapping[str, Sequence[int]]
_HINT = (
    "name its timm model with --backbone; --set backbone.options.… and backbone.stem=original for "
    "how it was built"
)


@dataclass(frozen=True)
class WeightsHeader:
    """What a safetensors file holds, without its values.

    Attributes:
        shapes: of the tensors, by their names.
        pretrain: fields of the pretraining that made them; None where the file does not say.
        network: whose backbone it is, ``online`` or ``target``; None where it does not say.
        has_digest: whether damage to the file would have been noticed.
    """

    shapes: Shapes
    pretrain: Mapping[str, Any] | None
    network: str | None = None
    has_digest: bool = False


def read_header(file: Path) -> WeightsHeader:
    """Read what a safetensors file holds, and check the digest that it carries.

    Raises:
        WeightsError: it cannot be read, or is damaged.
    """
    with _readable(file):
        with file.open("rb") as stream:
            has_digest = check_digest(stream)
        with safe_open(file, framework="pt") as opened:
            shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata() or {}
    return WeightsHeader(shapes, _spec_in(metadata, file), metadata.get("network"), has_digest)


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
    with _readable(file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_fit(
    shapes: Shapes, model: nn.Module, *, what: str, backbone: str, hint: str = _HINT
) -> None:
    """Find out whether tensors of these shapes are the weights of a model.

    Those of the classifier that timm gave the whole model may be among them.

    Args:
        shapes: of the tensors, by their names.
        model: the backbone, without classifier.
        what: names the weights in the message.
        backbone: names the model in the message.
        hint: what to do about it.

    Raises:
        WeightsError: they are not; says what differs.
    """
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    spare = [name for name in _without_classifier(shapes, model) if name not in wanted]
    lacking = [name for name in wanted if name not in shapes]
    differing = [name for name in wanted if name in shapes and list(shapes[name]) != wanted[name]]
    if differing:
        name = differing[0]
        difference = f"{name} is {_size(shapes[name])}, not {_size(wanted[name])}"
    elif lacking:
        difference = f"{_some(lacking)} missing"
    elif spare:
        difference = f"{_some(spare)} not part of it"
    else:
        return
    raise WeightsError(f"{what} does not fit the backbone {backbone}: {difference}", hint=hint)


def load_weights(file: Path, model: nn.Module, *, backbone: str) -> None:
    """Load a safetensors file into a backbone; a classifier in it is left out.

    Args:
        file: the weights, under timm's names.
        model: the backbone.
        backbone: its name, for the message.

    Raises:
        WeightsError: the file cannot be read, is damaged, or does not fit.
    """
    if not model.state_dict():
        return
    with _readable(file):
        with file.open("rb") as stream:
            check_digest(stream)
        tensors = load_file(file)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    check_fit(shapes, model, what=str(file), backbone=backbone)
    kept = set(_without_classifier(tensors, model))
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name in kept})


def _without_classifier(names: Iterable[str], model: nn.Module) -> list[str]:
    """Return the names without those of the classifier, which timm knows by its prefix."""
    known = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    parts = [known] if isinstance(known, str) else list(known)
    own = model.state_dict()
    return [
        name
        for name in names
        if name in own or not any(name.startswith(f"{part}.") for part in parts)
    ]


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
    if file.exists() and not file.is_file():  # opening a pipe would wait for somebody to write
        raise WeightsError(
            f"cannot read the weights {file}: not a regular file", hint="name a file"
        )
    try:
        yield
    except FileNotFoundError:
        raise WeightsError(
            f"the weights {file} are gone", hint="evaluate a file that exists"
        ) from None
    except Exception as error:  # safetensors and JSON let many kinds through on damaged files
        reason = error.strerror if isinstance(error, OSError) else None
        raise WeightsError(
            f"cannot read the weights {file}: "
            f"{reason or 'this is not a complete safetensors file'}",
            hint="safetensors.torch.save_file(model.state_dict(), file) writes one",
        ) from None


def _some(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{names[0]} and {len(names) - 1} more are"


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"  # noqa: RUF001
