"""Encoded images in the columns of Parquet and Arrow files, copied once into a file of the cache.

Only two columns are read, a row at a time, and only bytes: a path in a row is never followed.
A copy is a plain stretch of bytes for each image; a record beside it says where each is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from emabench.data.cache.image_cache import write_atomically
from emabench.data.decode import MOST_BYTES, FileFacts, inspect_content
from emabench.data.places import stretch
from emabench.data.sources.manifest import is_settled, stamp_of
from emabench.data.sources.requirements import require_class_names
from emabench.data.sources.shards.labelled import LabelledImage, plain_label
from emabench.errors import DataError, EmabenchError
from emabench.spec.plain import shown

_FORMAT = 1
_LARGEST_GROWTH = 100
"""Times that the images may be as large as the file, which holds them compressed already."""
_SMALL = 2**20
_LABELS = ("label", "labels", "class", "target", "fine_label")


@dataclass(frozen=True)
class TableColumns:
    """Which columns are read.

    Attributes:
        image: holds the bytes, or a struct with a field ``bytes``.
        label: holds whole numbers or names; None: there are no labels.
        names: of the classes that whole numbers mean; None: a number is the name.
    """

    image: str
    label: str | None
    names: tuple[str, ...] | None


def is_arrow(file: Path) -> bool:
    """Whether a file is a stream of Arrow's, as ``save_to_disk`` writes it; else it is Parquet."""
    return file.suffix == ".arrow"


def read_columns(file: Path, image: str | None, label: str | None) -> TableColumns:
    """Find the columns of a file.

    Args:
        file: the file.
        image: the column of images that the user named.
        label: that of labels.

    Raises:
        DataError: the file is damaged, a column is not there or not found, or the names
            of classes do not tell them apart.
    """
    with _readable(file):
        schema = _schema(file)
        features = _features(schema)
        binary = [each.name for each in schema if _holds_bytes(each.type)]
        known = {each.name for each in schema}
    for name in (image, label):
        if name is not None and name not in known:
            raise DataError(
                f"{file}: no column {shown(name)}", hint=f"it has {', '.join(sorted(known)[:12])}"
            )
    declared = [name for name in binary if features.get(name, {}).get("_type") == "Image"]
    image = image or _only(file, declared or binary, "image", "images")
    if image not in binary:
        raise DataError(
            f"{file}: column {shown(image)} does not hold the bytes of images",
            hint="images are bytes, or a struct with a field bytes",
        )
    if label is None:
        classes = [name for name, each in features.items() if each.get("_type") == "ClassLabel"]
        usual = [name for name in _LABELS if name in known]
        found = [name for name in classes if name in known] or usual
        label = _only(file, found, "label", "labels") if found else None
    names = features.get(label or "", {}).get("names")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(each, str) for each in names)
    ):
        raise DataError(f"{file}: the names of its classes are no text", hint="write it again")
    if names is not None:
        require_class_names(names, str(file))
    return TableColumns(image, label, None if names is None else tuple(names))


def _only(file: Path, found: list[str], kind: str, what: str) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{file}: no column holds the bytes of {what}",
            hint=f"say which: 'emabench run --set data.{kind}_column=NAME'; links and paths are "
            "not followed",
        )
    raise DataError(
        f"{file}: {' and '.join(found[:8])} could both hold the {what}",
        hint=f"say which: 'emabench run --set data.{kind}_column={found[0]}'",
    )


def read_table(file: Path, columns: TableColumns, folder: Path) -> list[LabelledImage]:
    """Return the images of a file, copied into ``folder`` unless they are there already.

    Raises:
        DataError: the file is damaged, holds no image bytes, becomes too large, a row has no or
            several labels, or the folder cannot be written.
    """
    status = file.stat()
    stamp = stamp_of(status)
    text = json.dumps([_FORMAT, str(file.resolve()), stamp, *astuple(columns)])
    pack = folder / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.pack"
    record = pack.with_suffix(".json")
    rows = _remembered(pack, record)
    if rows is None:
        read_at = time.time_ns()
        rows = []
        limit = max(_SMALL, _LARGEST_GROWTH * status.st_size)
        try:
            write_atomically(pack, _copied(file, columns, rows, limit))
            if is_settled(stamp, read_at):
                content = {"pack": _stamp(pack), "rows": rows}
                write_atomically(record, [json.dumps(content).encode()])
        except OSError as error:
            raise DataError(
                f"the cache {folder} cannot be written ({error.strerror or error}), and images in "
                "tables are copied there",
                hint="EMABENCH_CACHE names another folder",
            ) from error
    return [
        LabelledImage(name, label, stretch(pack, offset, size, where), FileFacts(*facts))
        for name, label, where, offset, size, *facts in rows
    ]


def _copied(
    file: Path, columns: TableColumns, rows: list[list[Any]], limit: int
) -> Iterator[bytes]:
    """Yield the bytes of each image of a file, and fill ``rows`` with what is known of it."""
    offset = 0
    for number, (image, label) in enumerate(_values(file, columns, limit)):
        where = f"{file}: row {number}"
        name, content = _image_bytes(image, where)
        offset += len(content)
        _check_growth(where, offset, limit)
        facts = inspect_content(stretch(file, 0, 0, where), content)
        text = None if columns.label is None else _class_of(label, columns.names, where)
        rows.append([name, text, where, offset - len(content), len(content), *astuple(facts)])
        yield content


def _check_growth(where: str, size: int, limit: int) -> None:
    if size > limit:
        raise DataError(
            f"{where}: the images are more than {_LARGEST_GROWTH} times as large as the file",
            hint="they are copied into the cache: is the file what it should be?",
        )


def _image_bytes(value: Any, where: str) -> tuple[str, bytes]:
    content, name = value, None
    if isinstance(value, dict):
        content, name = value.get("bytes"), value.get("path")
    if not content:
        raise DataError(
            f"{where}: no bytes{', and a path is not followed' if name else ''}",
            hint="save the images themselves: to_parquet and push_to_hub do so",
        )
    if len(content) > MOST_BYTES:
        raise DataError(f"{where}: {len(content):,} bytes", hint=f"{MOST_BYTES:,} are the most")
    return name if isinstance(name, str) else "", content


def _class_of(value: Any, names: tuple[str, ...] | None, where: str) -> str:
    label = plain_label(value, where)
    if isinstance(label, str):
        if names is None:
            return label
        raise DataError(
            f"{where}: its label is {shown(label)}", hint="the file says that labels are numbers"
        )
    if label < 0 or (names is not None and label >= len(names)):
        raise DataError(
            f"{where}: {label} is no class",
            hint="rows without a class are of no use here: leave their file out",
        )
    return str(label) if names is None else names[label]


def _values(file: Path, columns: TableColumns, limit: int) -> Iterator[tuple[Any, Any]]:
    wanted = [columns.image, *([] if columns.label is None else [columns.label])]
    with _readable(file):
        for batch in _batches(file, wanted, limit):
            batch.validate(full=True)  # Arrow's streams may point anywhere
            for row in range(batch.num_rows):
                part = batch.slice(row, 1)
                images = part.column(columns.image).to_pylist()
                labels = images if columns.label is None else part.column(columns.label).to_pylist()
                yield from zip(images, labels, strict=True)


def _batches(file: Path, wanted: list[str], limit: int) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if is_arrow(file):
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                yield batch.select(wanted)
        return
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20) as table:
        _check_growth(str(file), _unpacked_bytes(table.metadata, wanted), limit)
        # Rows that are equal are stored once, and may be large.
        yield from table.iter_batches(batch_size=1, columns=wanted, use_threads=False)


def _unpacked_bytes(metadata: Any, wanted: list[str]) -> int:
    """Return what some columns of a Parquet file take once they are decompressed, as it says."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if any(f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in wanted)
    )


def _schema(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_arrow(file):
        return pq.read_schema(file)
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
        return reader.schema


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features(schema: Any) -> dict[str, Mapping[str, Any]]:
    """Return what Hugging Face's library noted of each column."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    found = json.loads(text)
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, dict) else None
    columns = found.items() if isinstance(found, dict) else ()
    return {name: each for name, each in columns if isinstance(each, dict)}


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Make one line of what Arrow raises on damaged files."""
    try:
        yield
    except EmabenchError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"{file}: Parquet and Arrow files need pyarrow, which is not installed",
            hint="pip install 'emabench[hf]'",
        ) from error
    except Exception as error:  # Arrow's errors, and whatever a damaged file leads to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{file}: cannot be read: {reason}", hint="is it complete? fetch or write it again"
        ) from error


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _remembered(pack: Path, record: Path) -> list[list[Any]] | None:
    try:
        content = json.loads(record.read_bytes())
        return list(content["rows"]) if content["pack"] == _stamp(pack) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
