"""Batches of images by their rows, in order, decoded ahead where nothing keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from emabench.data.cache.cache_mode import read_ahead_bytes
from emabench.data.cache.image_rows import FileImages, Images
from emabench.data.workers import decoded_ahead

T = TypeVar("T")


def read_batches(images: Images, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the images of each batch.

    Args:
        images: all of them.
        batches: the rows of each batch, int64 ``[n]``.

    Yields:
        uint8 ``[n, S, S, 3]``, writable.

    Raises:
        DataError: a file cannot be decoded any more.
    """
    if isinstance(images, FileImages):
        files = (images.files(rows) for rows in batches)
        yield from decoded_ahead(
            files, images.size, images.crop, images.white, budget=read_ahead_bytes()
        )
    else:
        for rows in batches:
            yield images[rows]


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items while a thread gets the next one, so that reading goes on beside computing.

    Args:
        items: none of them is None.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="one-ahead") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
