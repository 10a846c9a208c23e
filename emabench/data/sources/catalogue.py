"""What is known of each data set before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """One data set; None where it depends on the files."""

    name: str
    classes: int | None
    train: int | None
    """Number of training images."""
    test: int | None
    """Number of test images."""
    image_size: int | None
    """Side of the images in pixels."""
    source: str
    licence: str
    description: str


_DATASETS = (
    DatasetInfo(
        name="fashion-mini",
        classes=10,
        train=10_000,
        test=2_000,
        image_size=28,
        source="part of the package",
        licence="MIT",
        description="class-balanced subset of Fashion-MNIST; needs no download",
    ),
    DatasetInfo(
        name="fashion_mnist",
        classes=10,
        train=60_000,
        test=10_000,
        image_size=28,
        source="download (torchvision)",
        licence="MIT",
        description="grey images of articles of clothing",
    ),
    DatasetInfo(
        name="cifar10",
        classes=10,
        train=50_000,
        test=10_000,
        image_size=32,
        source="download (torchvision)",
        licence="not stated",
        description="colour photographs of animals and vehicles",
    ),
    DatasetInfo(
        name="cifar100",
        classes=100,
        train=50_000,
        test=10_000,
        image_size=32,
        source="download (torchvision)",
        licence="not stated",
        description="colour photographs in 100 fine classes",
    ),
    DatasetInfo(
        name="svhn",
        classes=10,
        train=73_257,
        test=26_032,
        image_size=32,
        source="download (torchvision)",
        licence="non-commercial use",
        description="colour photographs of house numbers, cropped to a digit",
    ),
    DatasetInfo(
        name="stl10",
        classes=10,
        train=5_000,
        test=8_000,
        image_size=96,
        source="download (torchvision)",
        licence="not stated",
        description="colour photographs of animals and vehicles",
    ),
    DatasetInfo(
        name="stl10-unlabelled",
        classes=0,
        train=100_000,
        test=0,
        image_size=96,
        source="download (torchvision)",
        licence="not stated",
        description="the images of STL-10 without labels, to pretrain on",
    ),
    DatasetInfo(
        name="flowers102",
        classes=102,
        train=1_020,
        test=6_149,
        image_size=None,
        source="download (torchvision)",
        licence="not stated",
        description="photographs of flowers, of many sizes",
    ),
    DatasetInfo(
        name="eurosat",
        classes=10,
        train=None,
        test=None,
        image_size=64,
        source="download (torchvision)",
        licence="MIT",
        description="27,000 satellite images of land use; a part is held out",
    ),
    DatasetInfo(
        name="synthetic",
        classes=10,
        train=None,
        test=None,
        image_size=None,
        source="made when needed",
        licence="MIT",
        description="random pixels at any size and number, for timing; nothing to learn",
    ),
    DatasetInfo(
        name="folder",
        classes=None,
        train=None,
        test=None,
        image_size=None,
        source="data_dir",
        licence="that of the images",
        description="your own images, one folder per class",
    ),
    DatasetInfo(
        name="arrays",
        classes=None,
        train=None,
        test=None,
        image_size=None,
        source="data_dir",
        licence="that of the images",
        description="your own NumPy arrays: .npz, also MedMNIST's, or a folder of .npy",
    ),
    DatasetInfo(
        name="webdataset",
        classes=None,
        train=None,
        test=None,
        image_size=None,
        source="data_dir",
        licence="that of the images",
        description="your own images in tar shards, a class with each",
    ),
    DatasetInfo(
        name="hf",
        classes=None,
        train=None,
        test=None,
        image_size=None,
        source="data_dir",
        licence="that of the images",
        description="Parquet with a column of images, or a saved data set (extra hf)",
    ),
)


def built_in_datasets() -> list[DatasetInfo]:
    """Return every data set that the package knows by itself."""
    return list(_DATASETS)
