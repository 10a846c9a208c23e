"""From the bytes of an image file to a square RGB array, one rule for every kind of image."""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image, ImageOps

from emabench.data.places import read_place
from emabench.errors import DataError

CropRule = Literal["center", "stretch"]

DECODER = f"1/pillow-{PIL.__version__}"
"""Part of every cache key: raise the number when the rules of this file change. Pillow's version
stands for its JPEG library, which decides the last bit."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What an image may be, by its content. Pillow reads more, some of it by starting programs."""
MOST_BYTES = 2**30
_MOST_PIXELS = 2**27
if Image.MAX_IMAGE_PIXELS is not None:  # Pillow would warn of images that are read here
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, _MOST_PIXELS)
_DEEP_FORMATS = ("PNG", "TIFF")
"""Those in which Pillow takes the upper 8 of 16 bits of a colour."""


def read_bytes(path: Path | str) -> bytes:
    """Return the content of an image file, or of the stretch of a file that is one.

    Raises:
        DataError: it cannot be read, is empty, cut off, too large, or no regular file.
    """
    place = read_place(path)
    try:
        status = place.file.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for who writes into it
            raise DataError(
                f"{place.shown}: not a regular file", hint="remove it, or put the image there"
            )
        length = status.st_size if place.length is None else place.length
        if length > MOST_BYTES:
            raise _bad(path, f"{length:,} bytes are more than {MOST_BYTES:,}")
        with place.file.open("rb") as file:
            file.seek(place.offset)
            content = file.read(length)
    except OSError as error:
        raise DataError(
            f"{place.shown}: cannot be read ({error.strerror})",
            hint="check the file and its permissions",
        ) from error
    if not content:
        raise DataError(
            f"{place.shown}: the file is empty", hint="remove it, or put the image there"
        )
    if place.length is not None and len(content) < place.length:
        raise _bad(path, "it is cut off")
    return content


@dataclass(frozen=True)
class FileFacts:
    """What is known of an image file without decoding it.

    Attributes:
        digest: of its content.
        width: of the image, in pixels.
        height: of the image, in pixels.
        is_deep: whether its values have 16 bits.
    """

    digest: str
    width: int
    height: int
    is_deep: bool


def inspect(path: Path | str) -> FileFacts:
    """Return what identifies an image file, and what it says of its image.

    Raises:
        DataError: the file cannot be read, does not begin like an image, or has too many pixels.
    """
    return inspect_content(path, read_bytes(path))


def inspect_content(path: Path | str, content: bytes) -> FileFacts:
    """Return what ``inspect`` does, of a file whose content is known.

    Raises:
        DataError: it does not begin like an image, or has too many pixels.
    """
    with _opened(path, content) as image:
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        return FileFacts(digest, *image.size, _is_deep(image))


def largest_value(path: Path | str) -> int:
    """Return the largest value of an image of 16 bits; of a colour, the most it can be.

    Raises:
        DataError: it cannot be decoded.
    """
    with _opened(path, read_bytes(path)) as image:
        largest = int(np.asarray(image).max())
        return largest if image.mode.startswith("I") else 256 * largest + 255


def decode_all(
    paths: Sequence[str], size: int, crop: CropRule, white: int | None = None
) -> np.ndarray:
    """Decode some files, each as ``decode`` does.

    Returns:
        uint8 ``[n, size, size, 3]``.

    Raises:
        DataError: the first that cannot be decoded.
    """
    images = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    for row, path in enumerate(paths):
        images[row] = decode(path, size, crop, white)
    return images


def decode(path: Path | str, size: int, crop: CropRule, white: int | None = None) -> np.ndarray:
    """Decode one file; of an animation, the first frame.

    Args:
        path: the file, or the place of a stretch of one.
        size: wanted side in pixels.
        crop: how an oblong image becomes square.
        white: the value of grey of 16 bits that becomes white; None is 65535.

    Returns:
        uint8 ``[size, size, 3]``.

    Raises:
        DataError: the file is empty, truncated, or no image that can be shown as RGB.
    """
    with _opened(path, read_bytes(path)) as image:
        return np.asarray(to_square(to_rgb(image, white), size, crop))


@contextmanager
def _opened(path: Path | str, content: bytes) -> Iterator[Image.Image]:
    """Open an image; whatever Pillow raises on a bad file becomes a DataError that names it."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > _MOST_PIXELS:
                raise ValueError(f"{width} by {height} pixels are more than {_MOST_PIXELS:,}")
            yield image
    except PIL.UnidentifiedImageError as error:
        raise _bad(path, f"not an image ({', '.join(FORMATS)})") from error
    except Exception as error:  # Pillow's readers let many kinds through on damaged files
        lines = str(error).splitlines()
        raise _bad(path, lines[0] if lines else type(error).__name__) from error


def _bad(path: Path | str, reason: str) -> DataError:
    place = read_place(path)
    return DataError(
        f"{place.shown}: cannot be decoded: {reason}",
        hint="repair or remove the file: every file in a class folder must be an image"
        if place.length is None
        else "repair it, or write the file without it",
    )


def _is_deep(image: Image.Image) -> bool:
    if image.mode.startswith("I"):
        return True
    return image.format in _DEEP_FORMATS and ";16" in str(getattr(image, "tile", ""))


def to_rgb(image: Image.Image, white: int | None = None) -> Image.Image:
    """Turn any image into RGB; it may be changed in place.

    The orientation of its EXIF data is applied. Transparent parts show white. Grey of 16 bits
    keeps its upper 8 (rounded), unless another value than 65535 is white: what lies above that
    becomes white too.

    Raises:
        ValueError: there is no rule for its mode (32-bit values, Lab).
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its 32-bit values have no known range")
        brightest = white or 65535
        shown = (255 * values + brightest // 2) // brightest
        image = Image.fromarray(np.minimum(shown, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its floating-point values have no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, image)
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


def resize_arrays(images: np.ndarray, size: int, crop: CropRule = "center") -> np.ndarray:
    """Resize images by the rule of ``to_square``.

    Args:
        images: uint8 ``[N, H, W]`` (grey) or ``[N, H, W, 3]``.
        size: wanted side in pixels.
        crop: how an oblong image becomes square.

    Returns:
        uint8 with the sides replaced.
    """
    return np.stack([np.asarray(to_square(Image.fromarray(image), size, crop)) for image in images])
