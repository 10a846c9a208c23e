"""What images have to be, wherever they come from, before anything is trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from emabench.data.cache.channels import ChannelStatistics
from emabench.errors import DataError
from emabench.spec.data import DataSpec
from emabench.spec.plain import shown, unprintable

_DEFAULT_SIZE = 224
_NATIVE_SIZES = range(8, 1025)
_LONGEST_CLASS = 200


def native_size(sizes: Iterable[tuple[int, int]]) -> int:
    """Return the side in pixels that all images share if they are square, else 224.

    Args:
        sizes: width and height of each image.
    """
    found = set(sizes)
    width, height = next(iter(found))
    if len(found) == 1 and width == height and width in _NATIVE_SIZES:
        return width
    return _DEFAULT_SIZE


def require_two_of_each(classes: Sequence[str], labels: np.ndarray, place: str) -> None:
    """Check that a part of every class can be held out.

    Args:
        classes: their names.
        labels: int64 ``[N]``.
        place: where the classes lie, for the message.

    Raises:
        DataError: a class has one image.
    """
    counts = np.bincount(labels, minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count < 2:
            raise DataError(
                f"{place}/{name}: one image cannot be split into training and test",
                hint="add images, or give the data set a test part",
            )


def require_class_names(names: Sequence[str], place: str) -> None:
    """Check that classes can be told apart by their names, and shown by them.

    Raises:
        DataError: a name stands twice, is empty, too long, or has what a terminal does not show.
    """
    for name in names:
        if not name.strip() or len(name) > _LONGEST_CLASS or unprintable(name):
            raise DataError(
                f"{place}: {shown(name)} cannot be the name of a class",
                hint=f"a name is text of at most {_LONGEST_CLASS} characters on one line",
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{place}: two classes are called {shown(twice[0])}",
            hint="give each class a name of its own",
        )


def require_trained_classes(classes: Sequence[str], labels: np.ndarray, place: str) -> None:
    """Check that there are classes to tell apart, and that each has training images.

    Raises:
        DataError: there are fewer than two classes, or one has test images alone.
    """
    if len(classes) == 1:
        raise DataError(
            f"{place}: only one class, {classes[0]!r}",
            hint="at least two are needed to tell classes apart; leave the labels out to train "
            "without any",
        )
    missing = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(missing):
        raise DataError(
            f"{place}: no training image of class {classes[missing[0]]!r}",
            hint="every class needs training images",
        )


def require_spread(spec: DataSpec, statistics: ChannelStatistics) -> None:
    """Refuse training images that are all of one colour.

    Raises:
        DataError: they are.
    """
    if statistics.has_spread:
        return
    raise DataError(
        f"{spec.data_dir}: every pixel of the training images has the same colour",
        hint="look at them: there is nothing to learn"
        if spec.white is None
        else f"look at them, and check that {spec.white} is the value that is white",
    )
