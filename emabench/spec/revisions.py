"""What changed a number: the fixes after which the same spec gives another figure.

A run's identity names those that concern it: ``revisions`` of its pretraining, and
``evaluation_revisions`` of its evaluation. A run that no fix concerns has neither, and keeps the
fingerprint that it always had. Who finds out whether a run is concerned stands beside what changed:
in a method, or in ``resolution``: ``identity.py`` and ``evaluation.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PRETRAINING = "revisions"
"""The identity's name for the revisions of a pretraining."""
EVALUATION = "evaluation_revisions"
"""The identity's name for those of an evaluation."""


@dataclass(frozen=True)
class Revision:
    """One fix.

    Attributes:
        name: what identities call it; never used again for another one.
        of: ``pretraining``: the weights are others, and so is every figure; ``evaluation``: the
            same weights are judged otherwise.
        metrics: the figures that can differ; empty: all of them.
        concerns: which runs, as far as their spec and their data tell.
        before: what was wrong.
        now: what is right.
        repeats: whether an older run is done again when it is asked for. If not, it counts as
            the same run, and only its ``metrics`` are kept apart.
    """

    name: str
    of: Literal["pretraining", "evaluation"]
    metrics: tuple[str, ...]
    concerns: str
    before: str
    now: str
    repeats: bool = True


_TOP5_BEFORE = (
    "`knn_top5` filled up with classes that none of the neighbours voted for, and counted them"
)
_TOP5_NOW = "no vote, no prediction"

REVISIONS = (
    Revision(
        "drop-rates",
        "pretraining",
        (),
        "runs with a timm model that drops paths or units by itself (Swin, FocalNet, NesT, …), and "
        "those that ask for it and have a target with a pass of its own",
        "timm's rates were on without being asked for, and the target dropped too",
        "nothing is dropped unless `backbone.options` asks for it, and the target never drops",
    ),
    Revision(
        "swav-unfilled-queue",
        "pretraining",
        (),
        "`swav`, where `queue_from_epoch` comes before the queue is full",
        "slots that were never filled took part in the assignment",
        "they take no part",
    ),
    Revision(
        "folder-subset-statistics",
        "pretraining",
        (),
        "folders of images of which `train_subset` takes a part; an evaluation on one has it too",
        "channels were normalised by the mean and spread of all training images of the folder",
        "by those of the images that are used, and no other one is decoded",
    ),
    Revision(
        "knn-votes",
        "evaluation",
        ("knn_top1", "knn_top5"),
        "`evaluation.knn.temperature` so low that 1 / temperature + ln k > 87 (with k = 200, below "
        "0.0122)",
        "votes overflowed, or became 0",
        "votes are relative to the nearest neighbour's",
    ),
    Revision(
        "knn-top5-few",
        "evaluation",
        ("knn_top5",),
        "`evaluation.knn.k` below 200, or at most five classes, where the k nearest images can all "
        "be of too few classes to fill a top 5",
        _TOP5_BEFORE,
        _TOP5_NOW,
    ),
    Revision(
        "knn-top5",
        "evaluation",
        ("knn_top5",),
        "all others where they can",
        _TOP5_BEFORE,
        _TOP5_NOW,
        repeats=False,
    ),
    Revision(
        "bf16-small-maps",
        "pretraining",
        (),
        "runs in bfloat16 on a CPU with images so small that a convolution strides over a single "
        "pixel, or has a kernel of 5 or more over one, or of 7 over two: a ResNet with its own "
        "stem up to 16 pixels, for example",
        "torch's gradient of the weights of these convolutions had numbers that were never "
        "written, and the loss soon was not finite",
        "these convolutions are computed in float32",
    ),
    Revision(
        "sync-batchnorm-activation",
        "pretraining",
        (),
        "runs on several accelerators with a timm model whose BatchNorms include the activation "
        "(EfficientNet, MobileNet, RegNet, DenseNet, …)",
        "SyncBatchNorm took their place without the activation",
        "it has the activation",
    ),
    Revision(
        "device-drop-masks",
        "pretraining",
        (),
        "runs on several devices that drop paths or units because `backbone.options`, or a method "
        "of one's own, asks for it",
        "every device dropped the same of its part of a batch",
        "each drops its own",
    ),
)
"""Oldest first. One is only ever added at the end."""

_BY_NAME = {revision.name: revision for revision in REVISIONS}
_REPEATING = frozenset(revision.name for revision in REVISIONS if revision.repeats)


def named(concerned: Mapping[str, bool]) -> list[str]:
    """Return the names of the revisions that concern a run, oldest first.

    Raises:
        ValueError: there is no revision of such a name.
    """
    known = [revision.name for revision in REVISIONS]
    if not concerned.keys() <= set(known):
        raise ValueError(f"no revision of one of these names: {', '.join(concerned)}")
    return [name for name in known if concerned.get(name)]


def names_in(identity: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """Return the names that an identity holds, those of other versions of emabench among them.

    Args:
        identity: of a run, whoever wrote it.
        kind: ``PRETRAINING`` or ``EVALUATION``.
    """
    names = identity.get(kind)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def changed_metrics(name: str) -> tuple[str, ...]:
    """Return the figures that a revision changed; empty: all, as far as anybody knows here."""
    return _BY_NAME[name].metrics if name in _BY_NAME else ()


def is_repeated(name: str) -> bool:
    """Whether an older run is done again when it is asked for."""
    return name not in _BY_NAME or _BY_NAME[name].repeats


def counted_identities(identity: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what of an identity counts in fingerprints, before and after fixes of the evaluation.

    The last one is that of today. The earlier ones belong to the same weights, of which only the
    evaluation is to be repeated.
    """
    rest = {name: value for name, value in identity.items() if name != EVALUATION}
    names: Sequence[str] = [name for name in identity.get(EVALUATION, ()) if name in _REPEATING]
    for count in range(len(names) + 1):
        yield {**rest, EVALUATION: names[:count]} if count else rest
