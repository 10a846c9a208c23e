"""A backbone among the tensors of a file: under which names it stands, and of which network it is.

Programs save a backbone inside of something: ``state_dict.module.encoder_q.conv1.weight``. Whatever
stands before the names of timm is found by the names themselves. A ``Sequential`` made of a model's
children has numbers in the place of their names, and is found by their positions, which show that
no module was left out, and by the names and shapes below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

from torch import nn

from emabench.errors import SpecError, WeightsError
from emabench.evaluation.backbone_fit import FIT_HINT, Shapes, difference_to, is_counter, printed
from emabench.evaluation.foreign_weights.tensor_file import TensorFile

_WORDS = {
    "target": {"teacher", "target", "momentum", "k", "key"},
    "average": {"ema", "average", "averaged", "swa"},
    "online": {"student", "online", "q", "query", "base"},
}
"""What tells in a name of which network something is; the first that is there counts."""
_NUMBER = re.compile(r"(?:^|(?<=\.))(?:0|[1-9][0-9]{0,3})(?=\.)")
"""As Python writes one, so that no two names are one place."""
_MOST_NUMBERS = 4
"""Numbers in a name that may be the place of a child."""
_MOST_PLACES = 1000
"""Each block of a network may be one, by its first name."""
_SHOWN = 3
_OTHER_NAMES = (
    "name its timm model with --backbone; where torchvision has other names than timm, which is "
    "everywhere but in ResNet, ResNeXt, Wide ResNet and DenseNet, nothing is guessed"
)


@dataclass(frozen=True)
class FoundBackbone:
    """A backbone in a file.

    Attributes:
        start: what stands before its names in the file.
        names: of its tensors, by those of the model.
        network: whose it is by the words in ``start``; None where they do not say.
        left: names of the file that are no part of it.
        missing: names of the model that the file lacks and no feature depends on.
    """

    start: str
    names: Mapping[str, str]
    network: str | None
    left: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True)
class _Place:
    """Where a backbone may stand.

    Attributes:
        start: what stands before its names.
        names: of those of its tensors that are there, by those of the model.
        below: all names there as the model would have them; None: cut off ``start``.
    """

    start: str
    names: Mapping[str, str]
    below: Mapping[str, str] | None = None


def find_backbone(
    file: TensorFile,
    model: nn.Module,
    *,
    network: str,
    what: str,
    backbone: str,
    hint: str | None = None,
) -> FoundBackbone:
    """Find the weights of a model in a file, all of them.

    Args:
        file: what the file holds.
        model: the backbone, without classifier.
        network: whose backbone is wanted, where the file has several.
        what: names the file in messages.
        backbone: names the model in messages.
        hint: what to do where nothing fits.

    Raises:
        WeightsError: the file does not have the whole backbone; says what differs.
        SpecError: it has several and none of this network, or several of it.
    """
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    places = list(_places(shapes, model))
    whole = [
        place
        for place in places
        if _is_near(shapes, place, model) and _difference(shapes, place, model) is None
    ]
    if not whole:
        _refuse(file, shapes, places, model, what=what, backbone=backbone, hint=hint)
    kinds = [_network_of(place.start) for place in whole]
    wanted = [place for place, kind in zip(whole, kinds, strict=True) if kind == network]
    wanted = wanted or [place for place, kind in zip(whole, kinds, strict=True) if kind is None]
    if not wanted:
        has = sorted({kind for kind in kinds if kind is not None})
        raise SpecError(
            f"{what} has no backbone of the {network} network, only of the {' and '.join(has)} "
            f"one, {_said(whole[0].start)}",
            hint=f"--network {has[0]} takes that",
        )
    different = {
        tuple(file.tensors[name].origin for name in place.names.values()): place for place in wanted
    }
    if len(different) > 1:
        raise SpecError(
            f"{what} has {len(different)} backbones {backbone}: "
            f"{_some([_said(place.start) for place in different.values()])}",
            hint="save the one that you mean alone: torch.save(backbone.state_dict(), file)",
        )
    place = wanted[0]
    taken = set(place.names.values())
    return FoundBackbone(
        start=place.start,
        names=place.names,
        network=_network_of(place.start),
        left=[name for name in (*file.tensors, *file.others) if name not in taken],
        missing=[name for name in model.state_dict() if name not in place.names],
    )


def account_of(found: FoundBackbone, file: TensorFile, *, what: str, backbone: str) -> str:
    """Say in a line what of a file was taken, left and missing, and what was not called."""
    whose = "" if found.network is None else f", of the {found.network} network"
    parts = [f"{what}: backbone {backbone}, {len(found.names)} tensors {_said(found.start)}{whose}"]
    for word, names in (("left", found.left), ("missing", found.missing)):
        if names:
            parts.append(f"{word}: {_some(names)}")
    if file.uncalled:
        parts.append(f"named in the file, and not opened: {_some(file.uncalled)}")
    return "; ".join(parts)


def _places(shapes: Shapes, model: nn.Module) -> Iterator[_Place]:
    """Yield where the model may stand in a file."""
    own = list(model.state_dict())
    starts = (name.removesuffix(own[0]) for name in shapes if name.endswith(own[0]))
    for start in islice((s for s in starts if not s or s.endswith(".")), _MOST_PLACES):
        yield _Place(start, {each: start + each for each in own if start + each in shapes})
    children = {
        number: name
        for number, (name, child) in enumerate(model.named_children())
        if child.state_dict()
    }
    if len(children) < 2:  # what stands between an only child and the pooling may be no module
        return
    rows: dict[str, dict[int, dict[str, str]]] = {}
    for name in shapes:
        for number in islice(_NUMBER.finditer(name), _MOST_NUMBERS):
            row = rows.setdefault(name[: number.start()], {})
            row.setdefault(int(number[0]), {})[name[number.end() + 1 :]] = name
    for start, row in rows.items():
        if set(row) == set(children):
            below = {f"{children[k]}.{n}": name for k, r in row.items() for n, name in r.items()}
            yield _Place(start, {each: below[each] for each in own if each in below}, below)


def _difference(shapes: Shapes, place: _Place, model: nn.Module) -> str | None:
    """Say what keeps a place from holding the whole model, and nothing that makes it another."""
    below = place.below
    if below is None:
        names = (name for name in shapes if name.startswith(place.start))
        below = {name[len(place.start) :]: name for name in names}
    return difference_to({own: shapes[name] for own, name in below.items()}, model)


def _is_near(shapes: Shapes, place: _Place, model: nn.Module) -> bool:
    """Whether a place has all tensors of the model; quick to say no."""
    return all(
        tuple(shapes[place.names[own]]) == tuple(value.shape)
        if own in place.names
        else is_counter(own)
        for own, value in model.state_dict().items()
    )


def _refuse(
    file: TensorFile,
    shapes: Shapes,
    places: Sequence[_Place],
    model: nn.Module,
    *,
    what: str,
    backbone: str,
    hint: str | None,
) -> NoReturn:
    """Say what is nearest to the model, and what it lacks.

    Raises:
        WeightsError: always.
    """
    nearest = max(places, key=lambda each: len(each.names), default=_Place("", {}))
    lacking = [nearest.start + own for own in model.state_dict() if own not in nearest.names]
    other = next((name for name in lacking if name in file.others), None)
    if other is None:
        difference = _difference(shapes, nearest, model)
    else:
        difference = f"{printed(other)} is no dense tensor: {file.others[other]}"
    where = f" {_said(nearest.start)}" if nearest.start else ""
    if 2 * len(nearest.names) < len(model.state_dict()):
        hint = hint or _OTHER_NAMES
    raise WeightsError(
        f"{what} does not fit the backbone {backbone}{where}: {difference}", hint=hint or FIT_HINT
    )


def _network_of(start: str) -> str | None:
    """Return the network that words in a place mean; None: they mean none."""
    words = set(re.split("[._]", start.lower()))
    return next((kind for kind, known in _WORDS.items() if not known.isdisjoint(words)), None)


def _said(start: str) -> str:
    return f"under {printed(start.removesuffix('.'))}" if start else "under its own names"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(printed, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
