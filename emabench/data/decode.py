"""From the bytes of an image file to a square RGB array, one rule for every kind of image."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image, ImageOps

from emabench.errors import DataError

CropRule = Literal["center", "stretch"]

DECODER = f"1/pillow-{PIL.__version__}"
"""Part of every cache key: raise the number when the rules of this file change. Pillow's version
stands for its JPEG library, which decides the last bit."""


def read_bytes(path: Path) -> bytes:
    """Return the content of an image file.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror})", hint="check the file and its permissions"
        ) from error
    if not content:
        raise DataError(f"{path}: the file is empty", hint="remove it, or put the image there")
    return content


def inspect(path: Path) -> tuple[str, tuple[int, int]]:
    """Return the digest of a file's content, and the image's width and height in pixels.

    Raises:
        DataError: the file cannot be read, or does not begin like an image.
    """
    content = read_bytes(path)
    with _naming(path), Image.open(io.BytesIO(content)) as image:
        size = image.size
    return hashlib.blake2b(content, digest_size=16).hexdigest(), size


def decode_all(paths: Sequence[str], size: int, crop: CropRule) -> np.ndarray:
    """Decode some files, each as ``decode`` does.

    Returns:
        uint8 ``[n, size, size, 3]``.

    Raises:
        DataError: the first that cannot be decoded.
    """
    images = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    for row, path in enumerate(paths):
        images[row] = decode(Path(path), size, crop)
    return images


def decode(path: Path, size: int, crop: CropRule) -> np.ndarray:
    """Decode one file; of an animation, the first frame.

    Returns:
        uint8 ``[size, size, 3]``.

    Raises:
        DataError: the file is empty, truncated, or no image that can be shown as RGB.
    """
    content = read_bytes(path)
    with _naming(path), Image.open(io.BytesIO(content)) as image:
        return np.asarray(to_square(to_rgb(image), size, crop))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad file into a DataError that names the file."""
    try:
        yield
    except PIL.UnidentifiedImageError as error:
        raise _bad(path, "not an image that Pillow knows") from error
    except Exception as error:  # Pillow's readers let many kinds through on damaged files
        lines = str(error).splitlines()
        raise _bad(path, lines[0] if lines else type(error).__name__) from error


def _bad(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: cannot be decoded: {reason}",
        hint="repair or remove the file: every file in a class folder must be an image",
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn any image into RGB; it may be changed in place.

    The orientation of its EXIF data is applied. Transparent parts show white. Grey of 16 bits
    keeps its upper 8 (rounded).

    Raises:
        ValueError: there is no rule for its mode (32-bit values, Lab).
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its 32-bit values have no known range")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its floating-point values have no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def to_square(image: Image.Image, size: int, crop: CropRule) -> Image.Image:
    """Cut the centre square (``center``) or keep all (``stretch``), then resize to ``size``.

    The resize is bicubic and antialiased. An image that has the size already stays as it is.
    """
    width, height = image.size
    box = (0.0, 0.0, float(width), float(height))
    if crop == "center":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def resize_arrays(images: np.ndarray, size: int) -> np.ndarray:
    """Resize square images by the rule of ``to_square``.

    Args:
        images: uint8 ``[N, S, S]`` (grey) or ``[N, S, S, 3]``.
        size: wanted side in pixels.

    Returns:
        uint8 with the sides replaced.
    """
    return np.stack(
        [np.asarray(to_square(Image.fromarray(image), size, "center")) for image in images]
    )
