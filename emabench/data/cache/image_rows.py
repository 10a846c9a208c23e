"""Images that are read by their rows, whether an array holds them or not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emabench.data.cache.image_cache import Pieces, filled
from emabench.data.decode import CropRule, decode_all
from emabench.data.pool import in_pieces

Shape = tuple[int, int, int, int]
_PIECE = 8


class Images(Protocol):
    """uint8 ``[N, S, S, 3]``, RGB: an array, or something that gives its rows as one does."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, S, S, 3)``."""

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, wherever they are."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """Return the rows that NumPy would give for a number, a slice or an array of them."""


class _Rows:
    """What images that are no array have in common with one."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]


class HeldImages(_Rows):
    """Images in memory, made when the first row is asked for.

    Args:
        shape: ``(N, S, S, 3)``.
        pieces: makes them.
    """

    def __init__(self, shape: Shape, pieces: Pieces) -> None:
        super().__init__(shape)
        self._pieces = pieces

    @cached_property
    def array(self) -> np.ndarray:
        """All of them, read-only."""
        return filled(self.shape, self._pieces())

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return np.asarray(self.array[rows])


class FileImages(_Rows):
    """Images that are decoded whenever they are asked for, and never kept.

    Args:
        files: one per image.
        size: side of the decoded images in pixels.
        crop: how an oblong image becomes square.
        white: the value of grey of 16 bits that becomes white; None is 65535.
    """

    def __init__(
        self, files: Sequence[Path | str], size: int, crop: CropRule, white: int | None = None
    ) -> None:
        super().__init__((len(files), size, size, 3))
        self.size, self.crop, self.white = size, crop, white
        # Text: it is half as large as paths, and goes faster to the processes that decode.
        self._files = np.array([str(file) for file in files], dtype=object)

    def files(self, rows: np.ndarray | slice) -> list[str]:
        """Return the files of some rows, in their order."""
        return list(self._files[rows])

    def take(self, rows: np.ndarray) -> FileImages:
        """Return some of the images, decoded as late as all of them."""
        return FileImages(self.files(rows), self.size, self.crop, self.white)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        files = self._files[rows]
        if isinstance(files, str):
            return np.asarray(self.decoded([files])[0])
        chosen = list(files)

        def work(start: int, stop: int) -> np.ndarray:
            return self.decoded(chosen[start:stop])

        shape = (len(chosen), *self.shape[1:])
        return filled(shape, in_pieces(work, len(chosen), _PIECE))

    def decoded(self, files: Sequence[str]) -> np.ndarray:
        """Decode some files as these images are."""
        return decode_all(files, self.size, self.crop, self.white)


class ChosenRows(_Rows):
    """Some rows of a memory map, which stays one: nothing is copied before it is asked for.

    Args:
        images: all of them.
        rows: int64 ``[n]``.
    """

    def __init__(self, images: np.memmap[Any, Any], rows: np.ndarray) -> None:
        super().__init__((len(rows), *images.shape[1:]))
        self._images, self._rows = images, rows

    def take(self, rows: np.ndarray) -> ChosenRows:
        """Return some of these rows."""
        return ChosenRows(self._images, self._rows[rows])

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return np.asarray(self._images[self._rows[rows]])


def take(images: Images, rows: np.ndarray) -> Images:
    """Return some rows, of what lies in memory as a copy.

    Args:
        images: all of them.
        rows: int64 ``[n]``.
    """
    if isinstance(images, np.memmap):
        return ChosenRows(images, rows)
    if isinstance(images, FileImages | ChosenRows):
        return images.take(rows)
    if isinstance(images, HeldImages):
        return HeldImages((len(rows), *images.shape[1:]), lambda: [images[rows]])
    return images[rows]
