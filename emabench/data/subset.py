"""Class-balanced subsets and splits, drawn with a seed and in the order of the source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emabench.data.sources.requirements import require_two_of_each
from emabench.errors import DataError
from emabench.spec.data import DataSpec
from emabench.spec.streams import derive


def chosen_rows(labels: np.ndarray, count: int | None, seed: int, split: str) -> np.ndarray | None:
    """Draw the subset that a spec asks for; None is all.

    Args:
        labels: int64 ``[N]``.
        count: how many images; None is all.
        seed: the subset seed of the spec.
        split: ``train`` or ``test``, for the message.

    Returns:
        Sorted indices, int64 ``[count]``.

    Raises:
        DataError: there are not that many.
    """
    if count is None or count == len(labels):
        return None
    if count > len(labels):
        raise DataError(
            f"{split}_subset={count}, but there are {len(labels)} {split} images",
            hint=f"leave {split}_subset out to use all {len(labels)}",
        )
    return balanced_subset(labels, count, seed)


def balanced_subset(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw ``count`` images with the classes as equal in number as their sizes allow.

    A smaller subset of the same seed lies within a larger one.

    Args:
        labels: int64 ``[N]``.
        count: at most N.
        seed: the subset seed of the spec.

    Returns:
        Sorted indices, int64 ``[count]``.
    """
    generator = np.random.Generator(np.random.PCG64(derive(seed, "subset")))
    classes, sizes = np.unique(labels, return_counts=True)
    extra_first = generator.permutation(len(classes))
    quota = _equal_quota(sizes, count, extra_first)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:take]
        for label, take in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _equal_quota(sizes: np.ndarray, count: int, extra_first: np.ndarray) -> np.ndarray:
    """Return how many of each class to take: the level that fills ``count``, capped by sizes."""
    quota = np.zeros_like(sizes)
    while (missing := count - int(quota.sum())) > 0:
        open_classes = extra_first[quota[extra_first] < sizes[extra_first]]
        if missing < len(open_classes):
            quota[open_classes[:missing]] += 1
            continue
        level = missing // len(open_classes)
        quota[open_classes] = np.minimum(quota[open_classes] + level, sizes[open_classes])
    return quota


def drawn_test_part(
    spec: DataSpec, classes: Sequence[str], labels: Sequence[np.ndarray], split: str, place: str
) -> tuple[np.ndarray | None, str]:
    """Return which images are to be taken for testing, and how the test images come about.

    Args:
        spec: the seed and the share of what is held out.
        classes: their names; none where there are no labels.
        labels: int64 ``[N]`` of the training images and, where there are some, of the test images.
        split: how those came about.
        place: where the classes lie, for the message.

    Returns:
        bool ``[N]`` of the training images, all False where there are no labels; None where there
        are test images.

    Raises:
        DataError: a class has one image.
    """
    if not classes:
        return np.zeros(len(labels[0]), dtype=bool), "no labels: all for training"
    if len(labels) > 1:
        return None, split
    require_two_of_each(classes, labels[0], place)
    drawn = held_out(labels[0], spec.test_fraction, spec.subset_seed)
    return drawn, f"seeded {100 * spec.test_fraction:g} % split"


def held_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw the test part of a data set that has none, the same share of every class.

    Args:
        labels: int64 ``[N]``; every class has at least two images.
        fraction: share of each class, rounded, at least one image and never all of them.
        seed: the subset seed of the spec.

    Returns:
        bool ``[N]``, True where the image belongs to the test set.
    """
    generator = np.random.Generator(np.random.PCG64(derive(seed, "split")))
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        take = min(max(1, round(len(members) * fraction)), len(members) - 1)
        test[generator.permutation(members)[:take]] = True
    return test
