"""The files in a tar archive, and where in it they lie; nothing is unpacked.

The standard library reads the headers. What it would let through is refused here: anything but
regular files, names that lead out, headers of any length, an archive that is cut off.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from emabench.errors import DataError, NotFoundError
from emabench.spec.plain import shown, unprintable

_MOST_HEADER_BYTES = 2**17
"""Of one member: its header and those that give it a long name."""
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"\x28\xb5": "unzstd"}


@dataclass(frozen=True)
class TarMember:
    """A regular file in an archive.

    Attributes:
        name: its path there.
        offset: of its first byte in the archive.
        size: in bytes.
    """

    name: str
    offset: int
    size: int


def read_members(archive: Path) -> list[TarMember]:
    """Return the files of an archive, in its order.

    Raises:
        NotFoundError: there is no such archive.
        DataError: it is compressed, damaged, cut off, or has what a shard has no use for.
    """
    try:
        if not stat.S_ISREG(archive.stat().st_mode):  # opening a pipe would wait for a writer
            raise DataError(f"{archive}: not a regular file", hint="a shard is a .tar file")
        with archive.open("rb") as file:
            program = _COMPRESSED.get(file.read(2))
            if program is not None:
                raise DataError(
                    f"{archive}: a compressed archive",
                    hint=f"{program} it: images lie in a shard as they are, and are read in place",
                )
            return list(_checked(archive, file))
    except FileNotFoundError as error:
        raise NotFoundError(f"{archive}: there is no such shard", hint="check data_dir") from error
    except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{archive}: cannot be read as a tar archive: {reason}", hint="write it again"
        ) from error


def _checked(archive: Path, file: IO[bytes]) -> Iterator[TarMember]:
    length = archive.stat().st_size
    file.seek(0)
    headers = _Headers(archive, file)
    names: set[str] = set()
    with tarfile.TarFile(fileobj=headers) as tar:  # type: ignore[arg-type]
        while (member := tar.next()) is not None:
            headers.begin_member()
            if member.isdir():
                continue
            reason = _why_not(member) or ("it stands twice" if member.name in names else None)
            if reason is None and member.offset_data + member.size > length:
                reason = "it is cut off"
            if reason is not None:
                raise DataError(
                    f"{archive}: {shown(member.name)}: {reason}",
                    hint="write the shard again, from regular files alone",
                )
            names.add(member.name)
            yield TarMember(member.name, member.offset_data, member.size)
            # The reader keeps every header; of a large shard that is much.
            tar.members.clear()  # type: ignore[attr-defined]
        end = tar.offset
    file.seek(end)
    mark = file.read(tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE:
        raise DataError(f"{archive}: cut off: it has no end", hint="write or copy it again")
    while mark:
        if mark.strip(b"\0"):
            raise DataError(
                f"{archive}: damaged, or another archive begins, at byte {end:,}",
                hint="write it again; join shards with tar, not with cat",
            )
        mark = file.read(2**20)


def _why_not(member: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(member.name)
    if member.size < 0:
        return "its size is negative"
    if member.issym() or member.islnk():
        return f"a link, to {shown(member.linkname)}"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        return "not a regular file"
    if path.is_absolute() or ".." in path.parts:
        return "its path leads out of the shard"
    found = unprintable(member.name)
    return None if found is None else f"its name has {found}"


class _Headers:
    """The headers of an archive, for the standard library; a member's may take so much and no more.

    It would read as many bytes as a header asks for.
    """

    def __init__(self, archive: Path, file: IO[bytes]) -> None:
        self._archive, self._file = archive, file
        self.begin_member()

    def begin_member(self) -> None:
        self._left = _MOST_HEADER_BYTES

    def read(self, size: int) -> bytes:
        self._left -= size
        if size < 0 or self._left < 0:
            raise DataError(
                f"{self._archive}: a header of more than {_MOST_HEADER_BYTES:,} bytes",
                hint="write the shard again",
            )
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        if offset < 0:
            raise ValueError("a header leads before the beginning")
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()
