"""Data sets in shards: tar archives as WebDataset writes them, each sample an image and its class.

A shard is never unpacked. Its headers are read once, each image's bytes once for their digest, and
what was found is remembered until the shard changes; images are decoded where they lie.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath

from emabench.data.cache.image_cache import ImageCache, write_atomically
from emabench.data.decode import FileFacts, inspect, read_bytes
from emabench.data.places import given_path, is_pattern, stretch
from emabench.data.pool import in_pieces
from emabench.data.sources.encoded import EncodedImages, load_encoded
from emabench.data.sources.left_out import warn_left_out
from emabench.data.sources.manifest import Progress, is_settled, stamp_of
from emabench.data.sources.shards.labelled import LabelledImage, as_encoded, plain_label
from emabench.data.sources.shards.split_words import by_split, chosen_splits
from emabench.data.sources.shards.tar_members import TarMember, read_members
from emabench.data.sources.source import Source
from emabench.data.sources.tree import IMAGE_SUFFIXES
from emabench.errors import DataError, NotFoundError, SpecError
from emabench.spec.data import DataSpec
from emabench.spec.plain import shown, unique_pairs
from emabench.user_paths import home_path

_FORMAT = 2
_MOST_SHARDS = 100_000
_MOST_BRACES = 50
_MOST_TEXT = 2**20
"""Bytes of the member that says the class."""
_LABEL_KEYS = ("label", "class", "class_name", "cls", "target")
"""Keys of a sample's ``json`` that may say its class."""
_PIECE = 64


def load_webdataset(spec: DataSpec, cache: ImageCache, progress: Progress | None = None) -> Source:
    """Return the data set of the shards that ``spec.data_dir`` names.

    Args:
        spec: the shards: a folder, a file, or files by a pattern such as ``train-{000..007}.tar``.
        cache: keeps the decoded images, and what is known of the shards.
        progress: called with the number of images done and of all.

    Raises:
        SpecError: there is no ``data_dir``, or a pattern means no file or too many.
        NotFoundError: a shard does not exist.
        DataError: a shard is damaged or hostile, or its samples make no data set.
    """
    if spec.data_dir is None:
        raise SpecError(
            "dataset=webdataset needs data_dir",
            hint="name the shards: a folder, or 'shards/train-{000..007}.tar'",
        )
    encoded = read_webdataset(spec.data_dir, spec.label_column, cache, progress)
    return load_encoded(spec, encoded, cache, progress)


def read_webdataset(
    place: str, label_key: str | None, cache: ImageCache, progress: Progress | None = None
) -> EncodedImages:
    """Read what shards hold; a warning says what is left out.

    Args:
        place: the shards, as in a spec.
        label_key: of a sample's ``json`` that says its class; None: ``cls``, or a key that is
            usual.
        cache: keeps what is known of the shards.
        progress: called with the number of images read and of all.

    Raises:
        NotFoundError: a shard does not exist.
        DataError: a shard is damaged or hostile, or its samples make no data set.
    """
    train, test, name, unused = chosen_splits(place, shards_of(place))
    shards = [_Shard(file, label_key, cache.folder / "manifests") for file in (*train, *test)]
    _read_all(shards, progress)
    left: Counter[str] = Counter()
    for shard in shards:
        left.update(shard.left_out)
    if left:
        kinds = ", ".join(f".{suffix} ({count:,})" for suffix, count in left.most_common(5))
        warn_left_out(f"{place}: members left out: {kinds}")
    both = shards[: len(train)], shards[len(train) :]
    parts = [[image for shard in part for image in shard.images] for part in both if part]
    if any(image.label is None and "/" in image.name for part in parts for image in part):
        warn_left_out(
            f"{place}: without .cls or .json the images have no labels: folders are no classes"
        )
    not_used = f" ({', '.join(unused)} not used)" if unused else ""
    return as_encoded(place, parts, f"{name} shards{not_used}")


def shards_of(place: str) -> dict[str, list[Path]]:
    """Return the files that a folder, a path or a pattern with braces names, by their split.

    Raises:
        SpecError: the pattern means no file, or too many.
        NotFoundError: there is nothing of that name.
        DataError: the folder has no shards.
    """
    if not is_pattern(place):
        path = given_path(place)
        if not path.is_dir():
            return by_split([path], path.parent)
        found = sorted(each for pattern in ("*.tar", "*/*.tar") for each in path.glob(pattern))
        if not found:
            raise DataError(f"{place}: no .tar file in it", hint="name the folder of the shards")
        return by_split(found, path)
    if re.match(r"\w+:", place):
        raise SpecError(
            f"{shown(place)} is no file", hint="shards are read from the disk: copy them there"
        )
    if place.count("{") > _MOST_BRACES:
        raise SpecError(
            f"the pattern has more than {_MOST_BRACES} braces", hint="name the shards more simply"
        )
    names = set(_expanded(place, [0]))
    if len(names) > _MOST_SHARDS:
        raise _means_too_many()
    files = [given_path(name) for name in sorted(names)]
    if not files:
        raise SpecError(
            f"the pattern {shown(place)} means no file",
            hint="the smaller number comes first, as in train-{000..007}.tar",
        )
    begins = home_path(f"{place[: place.index('{')]}…")
    return by_split(files, begins.parent)


def _means_too_many() -> SpecError:
    return SpecError(
        f"the pattern means more than {_MOST_SHARDS:,} files", hint="name fewer shards"
    )


def _expanded(text: str, made: list[int]) -> Iterator[str]:
    """Yield what the braces of a text stand for: ``{000..007}``, ``{a,b}``, one within another."""
    made[0] += 1
    if made[0] > 2 * _MOST_SHARDS:  # names, and what they come from
        raise _means_too_many()
    match = re.search(r"\{([^{}]*)\}", text)
    if match is None:
        yield text
        return
    numbers = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", match[1])
    words: Sequence[str] | Iterator[str] = match[1].split(",")
    if numbers:
        first, last = numbers.groups()
        width = len(first) if first.startswith("0") else 0
        words = (f"{number:0{width}}" for number in range(int(first), int(last) + 1))
    for word in words:
        yield from _expanded(f"{text[: match.start()]}{word}{text[match.end() :]}", made)


class _Shard:
    """One shard: its images, and what is known of them.

    Args:
        file: the archive.
        label_key: see ``read_webdataset``.
        folder: where it is remembered.

    Attributes:
        images: those that were found; complete after ``finish``.
        left_out: suffixes of members that are neither an image nor a class.
    """

    def __init__(self, file: Path, label_key: str | None, folder: Path) -> None:
        try:
            status = file.stat()
        except OSError as error:
            raise NotFoundError(
                f"{file}: there is no such shard ({error.strerror})", hint="check data_dir"
            ) from error
        self._file = file
        self._stamp = stamp_of(status)
        self._read_at = time.time_ns()
        key = hashlib.blake2b(os.fsencode(f"{file.resolve()}\0{label_key}"), digest_size=16)
        self._record = folder / f"{key.hexdigest()}.shard.json"
        self.images: list[LabelledImage] = []
        self.left_out: dict[str, int] = {}
        self.members: list[tuple[TarMember, str | None]] = []
        if not self._remembered():
            self.members, self.left_out = _samples(file, label_key)

    def look(self, start: int, stop: int) -> list[LabelledImage]:
        """Read some of the images that are not known."""
        found = []
        for member, label in self.members[start:stop]:
            place = _place(self._file, member.name, member.offset, member.size)
            found.append(LabelledImage(member.name, label, place, inspect(place)))
        return found

    def finish(self, images: list[LabelledImage]) -> None:
        """Take the images that were read, and remember them."""
        self.images = images
        if not is_settled(self._stamp, self._read_at):
            return
        rows = [
            [member.name, member.offset, member.size, label, *astuple(image.facts)]
            for (member, label), image in zip(self.members, images, strict=True)
        ]
        content = {"format": _FORMAT, "stamp": self._stamp, "left": self.left_out, "images": rows}
        # Only a memory: where it cannot be kept the shard is read again.
        with contextlib.suppress(OSError):
            write_atomically(self._record, [json.dumps(content).encode()])

    def _remembered(self) -> bool:
        try:
            content = json.loads(self._record.read_bytes())
            if content["format"] != _FORMAT or content["stamp"] != self._stamp:
                return False
            self.images = [
                LabelledImage(
                    name, label, _place(self._file, name, offset, size), FileFacts(*facts)
                )
                for name, offset, size, label, *facts in content["images"]
            ]
            self.left_out = dict(content["left"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True


def _read_all(shards: Sequence[_Shard], progress: Progress | None) -> None:
    total = sum(len(shard.members) for shard in shards)
    done = 0
    for shard in shards:
        if not shard.members:
            continue
        images: list[LabelledImage] = []
        for piece in in_pieces(shard.look, len(shard.members), _PIECE):
            images += piece
            done += len(piece)
            if progress is not None:
                progress(done, total)
        shard.finish(images)


def _place(file: Path, name: str, offset: int, size: int) -> str:
    return stretch(file, offset, size, f"{file}: {name}")


@dataclass
class _Sample:
    image: TarMember | None = None
    cls: TarMember | None = None
    json: TarMember | None = None


def _samples(
    file: Path, label_key: str | None
) -> tuple[list[tuple[TarMember, str | None]], dict[str, int]]:
    """Return each image of a shard with its class, and the suffixes that are neither."""
    samples: dict[str, _Sample] = {}
    left: Counter[str] = Counter()
    for member in read_members(file):
        path = PurePosixPath(member.name)
        stem, _, suffix = path.name.partition(".")
        if not stem:  # a hidden file, of the system that packed it
            left[suffix] += 1
            continue
        sample = samples.setdefault(str(path.with_name(stem)), _Sample())
        if f".{suffix.lower()}" in IMAGE_SUFFIXES:
            if sample.image is not None:
                raise DataError(
                    f"{file}: {sample.image.name} and {member.name}: two images of one sample",
                    hint="a sample has one image; what follows the first dot of a name is its kind",
                )
            sample.image = member
        elif suffix == "cls":
            sample.cls = member
        elif suffix == "json":
            sample.json = member
        else:
            left[suffix] += 1
    if not samples:
        raise DataError(f"{file}: no samples in it", hint="write it again, or leave it out")
    found = []
    for name, sample in samples.items():
        if sample.image is None:
            raise DataError(
                f"{file}: sample {name} has no image",
                hint=f"an image is called {name}.jpg, .png, .webp or the like",
            )
        found.append((sample.image, _class_of(file, name, sample, label_key)))
    return found, dict(left)


def _class_of(file: Path, name: str, sample: _Sample, label_key: str | None) -> str | None:
    if sample.cls is not None and label_key is None:
        return _text(file, sample.cls).strip()
    if sample.json is None:
        if label_key is None:
            return None
        raise DataError(
            f"{file}: sample {name} has no .json, and its label is to be {shown(label_key)} of it",
            hint="leave data.label_column out to take the class from .cls",
        )
    called = f"{file}: {sample.json.name}"
    try:
        values = json.loads(_text(file, sample.json), object_pairs_hook=unique_pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{called}: cannot be read as JSON: {str(error)[:200]}", hint="write it again"
        ) from error
    known = values if isinstance(values, dict) else {}
    if label_key is not None and label_key not in known:
        names = ", ".join(map(shown, sorted(known)[:12]))
        raise DataError(
            f"{called}: it has no key {shown(label_key)}", hint=f"it has {names or 'no keys'}"
        )
    keys = _LABEL_KEYS if label_key is None else (label_key,)
    named = [key for key in keys if key in known]
    if len(named) > 1:
        raise DataError(
            f"{called}: {' and '.join(named)} could both be its class",
            hint=f"say which: 'emabench run --set data.label_column={named[0]}'",
        )
    return str(plain_label(known[named[0]], called)) if named else None


def _text(file: Path, member: TarMember) -> str:
    called = f"{file}: {member.name}"
    if member.size > _MOST_TEXT:
        raise DataError(f"{called}: {member.size:,} bytes of text", hint="write the class alone")
    try:
        return read_bytes(_place(file, member.name, member.offset, member.size)).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{called}: not UTF-8", hint="write it as text") from error
