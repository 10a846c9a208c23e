"""Whether tensors of some shapes are the weights of a backbone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from emabench.errors import WeightsError
from emabench.spec.plain import shown, unprintable

Shapes = Mapping[str, Sequence[int]]
FIT_HINT = (
    "name its timm model with --backbone; --set backbone.options.… and backbone.stem=original for "
    "how it was built"
)
_HEADS = frozenset(
    {"fc", "head", "heads", "classifier", "linear", "mlp", "probe", "prototypes", "queue"}
    | {"projector", "projection", "predictor", "prediction"}
)
"""Words in the names of what stands behind a backbone while it is trained."""
_COUNTER = "num_batches_tracked"
"""Of BatchNorm: absent in files from before torch 0.4.1, and no part of what it computes."""

_LONGEST = 80
"""Letters of a name that a message repeats."""


def check_fit(
    shapes: Shapes, model: nn.Module, *, what: str, backbone: str, hint: str | None = None
) -> None:
    """Find out whether tensors of these shapes are the weights of a model.

    Heads may be among them: the classifier that timm gave the whole model, or that of a method.

    Args:
        shapes: of the tensors, by their names.
        model: the backbone, without classifier.
        what: names the weights in the message.
        backbone: names the model in the message.
        hint: what to do about it.

    Raises:
        WeightsError: they are not; says what differs.
    """
    difference = difference_to(shapes, model)
    if difference is not None:
        raise WeightsError(
            f"{what} does not fit the backbone {backbone}: {difference}", hint=hint or FIT_HINT
        )


def difference_to(shapes: Shapes, model: nn.Module) -> str | None:
    """Say what keeps tensors of these shapes from being the weights of a model; None: nothing."""
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    spare = [name for name in without_heads(shapes, model) if name not in wanted]
    lacking = [name for name in wanted if name not in shapes and not is_counter(name)]
    differing = [name for name in wanted if name in shapes and list(shapes[name]) != wanted[name]]
    if differing:
        name = differing[0]
        return f"{printed(name)} is {_size(shapes[name])}, not {_size(wanted[name])}"
    if lacking:
        return f"{_some(lacking)} missing"
    return f"{_some(spare)} not part of it" if spare else None


def is_counter(name: str) -> bool:
    """Whether a tensor counts batches, which no feature depends on."""
    return name.rpartition(".")[2] == _COUNTER


def without_heads(names: Iterable[str], model: nn.Module) -> list[str]:
    """Return the names without those of heads.

    timm knows its classifier by its prefix. The heads of methods are known by a word, and by being
    no part of the backbone.
    """
    known = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    parts = [known] if isinstance(known, str) else list(known)
    own = model.state_dict()
    tops = {name.partition(".")[0] for name in own}

    def is_head(name: str) -> bool:
        top = name.partition(".")[0]
        by_word = top not in tops and not _HEADS.isdisjoint(re.split("[_0-9]", top.lower()))
        return by_word or any(name.startswith(f"{part}.") for part in parts)

    return [name for name in names if name in own or not is_head(name)]


def printed(name: str) -> str:
    """Return a name out of a file as a message repeats it."""
    return shown(name) if len(name) > _LONGEST or unprintable(name) else name


def _some(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{printed(names[0])} is"
    return f"{printed(names[0])} and {len(names) - 1} more are"


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"  # noqa: RUF001
