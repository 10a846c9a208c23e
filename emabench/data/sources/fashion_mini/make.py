"""Make the assets of fashion-mini from the four IDX files of Fashion-MNIST.

    python emabench/data/sources/fashion_mini/make.py FOLDER [--output FOLDER]

FOLDER holds ``train-images-idx3-ubyte.gz`` and the three others. The draw is seeded and takes
the same number of images of each class; the order of the source is kept. The same Pillow and
zlib give the same bytes every time.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
from PIL import Image

PER_CLASS = {"train": 1000, "test": 200}
PREFIX = {"train": "train", "test": "t10k"}
SEED = 20220811


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of a gzipped IDX file."""
    content = gzip.decompress(path.read_bytes())
    zeros, kind, dimensions = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != 8:
        raise ValueError(f"{path}: not an IDX file of bytes")
    end = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:end])
    return np.frombuffer(content, np.uint8, offset=end).reshape(shape)


def draw(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Return sorted indices of ``per_class`` images of every class."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:per_class]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def make(source: Path, output: Path) -> list[Path]:
    """Write ``{train,test}.png`` (images one above the other) and ``{train,test}-labels.npy``."""
    written = []
    for split, per_class in PER_CLASS.items():
        images = read_idx(source / f"{PREFIX[split]}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{PREFIX[split]}-labels-idx1-ubyte.gz")
        rows = draw(labels, per_class)
        tall = images[rows].reshape(-1, images.shape[2])
        picture = output / f"{split}.png"
        Image.fromarray(tall).save(picture, optimize=True)
        table = output / f"{split}-labels.npy"
        np.save(table, labels[rows])
        written += [picture, table]
    return written


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make the assets of fashion-mini.")
    parser.add_argument("source", type=Path, help="folder of the four gzipped IDX files")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    for path in make(arguments.source, arguments.output):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{digest}  {path.stat().st_size:>8}  {path.name}")


if __name__ == "__main__":
    main()
