"""The decoded images of one split, kept as the cache mode says, and their channel statistics."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from emabench.data.cache.cache_mode import CacheMode
from emabench.data.cache.channels import ChannelHistogram, ChannelStatistics
from emabench.data.cache.image_cache import ImageCache, Pieces, write_atomically
from emabench.data.cache.image_rows import FileImages, HeldImages, Images, Shape

_FORMAT = 1


def keep(
    cache: ImageCache,
    mode: CacheMode,
    key: str,
    shape: Shape,
    pieces: Pieces,
    files: FileImages | None = None,
) -> tuple[Images, ChannelStatistics]:
    """Return the images of a split and the statistics of all of them, the same in every mode.

    The statistics need every image once; where the images are not kept on the disk, these few
    figures are, so that a later run starts without decoding, or decodes once.

    Args:
        cache: the entries on the disk; one that is there is read in place of the files.
        mode: any but ``auto``.
        key: names the content, its stored form and the code that makes it.
        shape: ``(N, S, S, 3)``.
        pieces: makes the images.
        files: decodes them when they are asked for; None: they are held in memory in place of that.
    """
    if mode is CacheMode.DISK:
        return cache.load(key, shape, pieces)
    found = cache.find(key, shape)
    images: Images
    if mode is CacheMode.NONE and files is not None:
        images = files
    else:
        images = HeldImages(shape, pieces if found is None else lambda: [found[0]])
    record = cache.folder / f"{key}.statistics.json"
    statistics = _read(record) if found is None else found[1]
    if statistics is None:
        statistics = _count([images.array] if isinstance(images, HeldImages) else pieces())
        _write(record, statistics)
    return images, statistics


def _count(pieces: Iterable[np.ndarray]) -> ChannelStatistics:
    histogram = ChannelHistogram()
    for piece in pieces:
        histogram.add(piece)
    return histogram.statistics()


def _read(record: Path) -> ChannelStatistics | None:
    try:
        known = json.loads(record.read_bytes())
        if known["format"] != _FORMAT:
            return None
        mean, std = ([float(value) for value in known[name]] for name in ("mean", "std"))
        return ChannelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _write(record: Path, statistics: ChannelStatistics) -> None:
    facts = {"format": _FORMAT, "mean": statistics.mean, "std": statistics.std}
    # Only a memory: where it cannot be kept the images are counted again.
    with contextlib.suppress(OSError):
        write_atomically(record, [json.dumps(facts).encode()])
