"""Images in shards with their classes, put into the order that the same images have in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emabench.data.decode import FileFacts
from emabench.data.sources.encoded import EncodedImages, EncodedSplit
from emabench.data.sources.left_out import warn_left_out
from emabench.data.sources.requirements import require_class_names, require_trained_classes
from emabench.errors import DataError
from emabench.spec.plain import shown


@dataclass(frozen=True)
class LabelledImage:
    """An encoded image.

    Attributes:
        name: of its file; images of a class are ordered by it.
        label: the name of its class; None: it has none.
        place: where its bytes are.
        facts: what is known of it.
    """

    name: str
    label: str | None
    place: str
    facts: FileFacts


def plain_label(value: Any, where: str) -> int | str:
    """Return the one label of an image.

    Raises:
        DataError: there are several, or it is neither a whole number nor a name.
    """
    if isinstance(value, list | dict):
        raise DataError(
            f"{where}: several labels for one image",
            hint="an image has one label here: a whole number or a name",
        )
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(
            f"{where}: its label is {shown(value)}", hint="a label is a whole number or a name"
        )
    return value


def as_encoded(place: str, parts: Sequence[Sequence[LabelledImage]], split: str) -> EncodedImages:
    """Return images as a data set: classes by name, images by class and name.

    Args:
        place: named in messages.
        parts: the training images and, where there are some, the test images.
        split: what the test images are called.

    Raises:
        DataError: a part is empty, some images have labels and others have none, a class has no
            training images, or its name cannot be shown.
    """
    for part, purpose in zip(parts, ("training", "testing"), strict=False):
        if not part:
            raise DataError(
                f"{place}: no images for {purpose} in its files",
                hint="fill them, or leave them out",
            )
    names = {image.label for part in parts for image in part}
    if None in names and len(names) > 1:
        odd = next(image for part in parts for image in part if image.label is None)
        raise DataError(
            f"{place}: {odd.name} has no label, and others have one",
            hint="label every image, or none of them",
        )
    if names == {None}:
        if len(parts) > 1:
            reason = "there are no labels"
            warn_left_out(f"{place}: not used: {len(parts[1]):,} test images ({reason})")
        parts, names = parts[:1], set()
    classes = tuple(sorted(name for name in names if name is not None))
    require_class_names(classes, place)
    index = {name: number for number, name in enumerate(classes)}
    splits = tuple(_ordered(part, index) for part in parts)
    if classes:
        require_trained_classes(classes, splits[0].labels, place)
    return EncodedImages(classes, splits, split, place)


def _ordered(images: Sequence[LabelledImage], index: dict[str, int]) -> EncodedSplit:
    labelled = sorted(
        ((index[image.label] if image.label is not None else 0, image) for image in images),
        key=lambda pair: (pair[0], pair[1].name),
    )
    return EncodedSplit(
        tuple(image.place for _, image in labelled),
        tuple(image.facts for _, image in labelled),
        np.array([label for label, _ in labelled], dtype=np.int64),
    )
