"""Published accuracies: the table that comes with the package, a row for each setting.

Every row names where it was published. Names are written as there; what they mean here is found by
their letters and digits alone: ``MoCo V2+`` and ``Moco`` are ``moco``, ``ResNet-18`` is
``resnet18``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from emabench.errors import UnknownNameError

Classifier = Literal["linear", "kNN", "finetuned"]
"""What gave the accuracy: a linear probe, nearest neighbours, or training all of the weights."""

_FILE = resources.files("emabench.analysis.published") / "accuracies.csv"
_SAME = {
    "bt": "barlowtwins",
    "mocov2": "moco",
    "mocov2symmetric": "moco",
    "mocov2asymmetric": "moco",
    "wmse2": "wmse",
    "wmse4": "wmse",
    "lejepa4views": "lejepa",
}
"""Variants of a method of the package, by the letters of their name."""
_WITH_EMA = frozenset(
    {
        *("all4one", "byol", "cmae", "data2vec", "dino", "dinov2", "dinov3", "ibot", "ijepa"),
        *("moco", "mocov1", "mocov3", "msn", "pmsn", "ressl", "simdino", "simdinov2", "smog"),
        "tico",
    }
)
"""Methods that are published with the EMA of the whole encoder; the others have none."""


@dataclass(frozen=True)
class PublishedRow:
    """One published setting, and its accuracy.

    Attributes:
        method: as it was published; so are the others.
        dataset: its name.
        backbone: None where the source does not say.
        epochs: of the pretraining.
        batch: images a step, or a range of them.
        protocol: how the accuracy was measured, in words: ``kNN k=200 best epoch``.
        top1: in percent.
        minutes: of the pretraining.
        hardware: that it took.
        source: where it was published, with the commit where one is known.
    """

    method: str
    dataset: str
    backbone: str | None
    epochs: int
    batch: str | None
    protocol: str
    top1: float
    minutes: float | None
    hardware: str | None
    source: str

    @property
    def classifier(self) -> Classifier:
        """What gave the accuracy."""
        kinds: dict[str, Classifier] = {"kNN": "kNN", "finetuned": "finetuned"}
        return kinds.get(self.protocol.split()[0], "linear")

    @property
    def neighbours(self) -> int | None:
        """The k of its nearest neighbours, where it is known."""
        found = re.search(r"\bk=(\d+)", self.protocol)
        return None if found is None else int(found[1])

    @property
    def is_best_epoch(self) -> bool:
        """Whether it is the best of all epochs by the test images, and not the last one."""
        return "best epoch" in self.protocol

    @property
    def is_online(self) -> bool:
        """Whether it was measured by a probe during the pretraining."""
        return "online" in self.protocol

    @property
    def scope(self) -> str:
        """The EMA scope of the method as published."""
        return "full" if letters(self.method) in _WITH_EMA else "none"


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Return all rows, in the order of the file."""
    lines = csv.DictReader(io.StringIO(_FILE.read_text("utf-8")))
    return tuple(
        PublishedRow(
            method=line["method"].replace("\\", ""),
            dataset=line["dataset"],
            backbone=line["backbone"] or None,
            epochs=int(line["epochs"]),
            batch=line["batch"] or None,
            protocol=line["protocol"],
            top1=float(line["top1"]),
            minutes=float(line["minutes"]) if line["minutes"] else None,
            hardware=line["hardware"] or None,
            source=line["source"],
        )
        for line in lines
    )


def find_published(
    method: str | None = None, dataset: str | None = None, backbone: str | None = None
) -> tuple[PublishedRow, ...]:
    """Return the rows of a method, a data set and a backbone; None is any.

    Args:
        method: as it was published, or the name of a method of the package, with its variants.
        dataset: as it was published, or its name here.
        backbone: likewise.

    Raises:
        UnknownNameError: nothing of this name is published; near names are proposed.
    """
    rows = published_rows()
    for field, asked in (("method", method), ("dataset", dataset), ("backbone", backbone)):
        if asked is None:
            continue
        known = {getattr(row, field) or "" for row in published_rows()} - {""}
        if letters(asked) not in map(letters, known):
            names = {name.lower() for name in known}
            raise UnknownNameError(f"published {field}", asked.lower(), names)
        rows = tuple(row for row in rows if letters(getattr(row, field) or "") == letters(asked))
    return rows


def letters(name: str) -> str:
    """Return what a name has in common with its other spellings.

    ``vit_small_patch16_224`` and ``ViT-S/16`` are ``vits16``.
    """
    plain = re.sub(r"^vit_(tiny|small|base|large)_patch(\d+).*", _short_vit, name.lower())
    found = re.sub(r"[^a-z0-9]", "", plain)
    return _SAME.get(found, found)


def _short_vit(found: re.Match[str]) -> str:
    return f"vit{found[1][0]}{found[2]}"


def plain_values(rows: Sequence[PublishedRow]) -> list[dict[str, object]]:
    """Return rows as plain values for JSON; None is what the source does not say."""
    return [dict(vars(row)) for row in rows]
