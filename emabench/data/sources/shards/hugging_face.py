"""Data sets of Hugging Face: folders of Parquet, what ``save_to_disk`` wrote, or the hub's cache.

Their code is never run, and the hub is asked only if the user allows a download.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from emabench.data.cache.image_cache import ImageCache
from emabench.data.downloads import may_download
from emabench.data.places import given_path
from emabench.data.sources.encoded import EncodedImages, load_encoded
from emabench.data.sources.manifest import Progress
from emabench.data.sources.shards.labelled import LabelledImage, as_encoded
from emabench.data.sources.shards.split_words import by_split, chosen_splits, split_of
from emabench.data.sources.shards.table_files import read_columns, read_table
from emabench.data.sources.source import Source
from emabench.errors import DataError, NotFoundError, SpecError
from emabench.spec.data import DataSpec
from emabench.spec.plain import shown, unprintable

HUB = "hf://"
_HUB_PLACE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?((?:/[\w.-]+)*)/?")
_CONVERTED = {"~parquet": "refs/convert/parquet"}
"""The short name that the hub's own paths have for it."""
_PATTERNS = ("**/*.parquet", "*.parquet")
_OF = re.compile(r"(.*)-(\d{5})-of-(\d{5})$")


def load_hugging_face(
    spec: DataSpec, cache: ImageCache, progress: Progress | None = None
) -> Source:
    """Return the data set of Hugging Face that ``spec.data_dir`` names.

    Raises:
        SpecError: there is no ``data_dir``, or it is no address of a data set.
        NotFoundError: it does not exist, or is not in the hub's cache.
        DataError: a file is damaged, or they make no data set.
    """
    if spec.data_dir is None:
        raise SpecError(
            "dataset=hf needs data_dir",
            hint="name a folder of Parquet files, a saved data set, or hf://datasets/OWNER/NAME",
        )
    encoded = read_hugging_face(
        spec.data_dir, spec.image_column, spec.label_column, cache, progress
    )
    return load_encoded(spec, encoded, cache, progress)


def read_hugging_face(
    place: str,
    image: str | None,
    label: str | None,
    cache: ImageCache,
    progress: Progress | None = None,
) -> EncodedImages:
    """Read what a data set of Hugging Face holds; its images are copied into the cache once.

    Args:
        place: a file, a folder, or an address of the hub.
        image: the column that holds the images; None finds it.
        label: that of the labels; None finds it, and there may be none.
        cache: keeps the copies.
        progress: called with the number of files read and of all.

    Raises:
        SpecError: the address is none.
        NotFoundError: it does not exist, or is not in the hub's cache.
        DataError: a file is damaged, or they make no data set.
    """
    train, test, name, unused = chosen_splits(place, table_files(place))
    first = read_columns(train[0], image, label)
    parts: list[list[LabelledImage]] = []
    done = 0
    for part in (train, test):
        images: list[LabelledImage] = []
        for file in part:
            columns = read_columns(file, first.image, first.label)
            images += read_table(file, columns, cache.folder / "packs")
            done += 1
            if progress is not None:
                progress(done, len(train) + len(test))
        if part:
            parts.append(_in_order(images))
    not_used = f" ({', '.join(unused)} not used)" if unused else ""
    return as_encoded(place, parts, f"{name} split{not_used}")


def _in_order(images: list[LabelledImage]) -> list[LabelledImage]:
    """Return the images in the order of their files' names, where all have one; else of rows."""
    if all(image.name for image in images):
        return images
    return [replace(image, name=f"{row:012}") for row, image in enumerate(images)]


def table_files(place: str) -> dict[str, list[Path]]:
    """Return the Parquet or Arrow files of a data set, by their split.

    Raises:
        SpecError: the address is none.
        NotFoundError: it does not exist, or is not in the hub's cache.
        DataError: there are none, some are missing, or those of several data sets.
    """
    root = _from_hub(place) if place.startswith(HUB) else given_path(place)
    if not root.exists():
        raise NotFoundError(f"{place}: there is no such file or folder", hint="check data_dir")
    if root.is_file():
        return by_split([root], root.parent)
    if not root.is_dir():
        raise DataError(f"{place}: not a regular file", hint="name a Parquet file or a folder")
    files = sorted(file for file in root.rglob("*.parquet") if file.is_file())
    files = files or sorted(file for file in root.rglob("data-*.arrow") if file.is_file())
    if not files:
        raise DataError(
            f"{place}: no Parquet file in it, and no data set that save_to_disk wrote",
            hint="images in files are dataset=folder; 'emabench datasets PATH' looks at a folder",
        )
    _require_all(place, files)
    folders = {file.parent for file in files}
    homes = {each.parent if split_of(each, root) else each for each in folders}
    if len(homes) > 1:
        names = ", ".join(sorted(str(home.relative_to(root)) for home in homes)[:8])
        raise DataError(
            f"{place}: several data sets in it: {names}", hint="name the folder of one of them"
        )
    return by_split(files, root)


def _require_all(place: str, files: list[Path]) -> None:
    """Check that of files that are numbered none is missing.

    Raises:
        DataError: one is.
    """
    found: dict[tuple[Path, str, int], int] = {}
    for file in files:
        match = _OF.match(file.stem)
        if match is not None:
            key = (file.parent, match[1], int(match[3]))
            found[key] = found.get(key, 0) + 1
    for (_, name, total), count in found.items():
        if count != total:
            raise DataError(
                f"{place}: {count} of the {total} files {name}-…-of-{total:05} are there",
                hint="fetch the rest, from the hub with 'emabench run --download'",
            )


def _from_hub(place: str) -> Path:
    """Return where the hub's cache has a data set, after a download if the user allows it."""
    match = _HUB_PLACE.fullmatch(place)
    revision = "" if match is None else _CONVERTED.get(match[2], unquote(match[2] or ""))
    # Both become parts of paths in the cache.
    if match is None or not all(map(_stays_inside, (place, revision))):
        raise SpecError(
            f"{shown(place)} is no data set of the hub",
            hint="hf://datasets/OWNER/NAME, with @REVISION and a folder where it needs them",
        )
    name, folder = match[1], match[3]
    try:
        from huggingface_hub import snapshot_download

        found = snapshot_download(
            name,
            repo_type="dataset",
            revision=revision or None,
            allow_patterns=[f"{folder[1:]}/{each}" if folder else each for each in _PATTERNS],
            local_files_only=not may_download(),
        )
    except Exception as error:  # of the network, the hub or its cache, in many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if may_download():
            raise DataError(
                f"{place}: cannot be downloaded: {reason}",
                hint="check the name and the network; a private one needs HF_TOKEN",
            ) from error
        raise NotFoundError(
            f"{place}: not in the cache of the hub", hint="'emabench run --download' fetches it"
        ) from error
    return Path(found + folder)


def _stays_inside(path: str) -> bool:
    """Whether a path cannot lead out of the folder that it is looked for in."""
    leads_out = path.startswith("/") or ".." in path or "\\" in path
    return not leads_out and not unprintable(path)
