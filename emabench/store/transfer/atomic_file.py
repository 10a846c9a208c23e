"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emabench.user_paths import check_output


@contextmanager
def draft(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty file to write; it takes the place of ``target`` when the block ends well.

    Args:
        target: the file that shall be there in the end.
        overwrite: whether it may be there already.

    Raises:
        UsageError: what is there is no regular file.
        FileExistsError: it is there, and may not be.
        OSError: it cannot be written.
    """
    check_output(target)
    file = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    # Not tempfile, whose files nobody else may read.
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield file
        with file.open("rb+") as written:
            os.fsync(written.fileno())  # a full disk shows here, before anything is replaced
        if overwrite:
            file.replace(target)
        else:
            _move(file, target)
    finally:
        file.unlink(missing_ok=True)


def _move(file: Path, target: Path) -> None:
    """Move a file to a place where nothing is, also if somebody else writes there just now."""
    try:
        os.link(file, target)
    except FileExistsError:
        raise
    except OSError:  # the file system knows no links
        if target.exists():
            raise FileExistsError(target) from None
        file.replace(target)
