"""A page as a file."""

from __future__ import annotations

import os
from pathlib import Path

from emabench.errors import EmabenchError, UsageError
from emabench.output_file import check_output
from emabench.report.page.content import PageContent
from emabench.report.page.render import render_page

_ENDINGS = (".html", ".htm")


def check_page(path: Path) -> None:
    """Refuse a page that cannot be written, before anything is computed.

    Raises:
        UsageError: the ending is not that of a page, the folder does not exist, or
            something lies there that is no regular file.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path.name!r} is no name for a page", hint="let it end in .html")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="make it, or choose another")
    check_output(path)


def write_page(content: PageContent, path: Path) -> int:
    """Write a page whole or not at all, and return its size in bytes.

    Raises:
        EmabenchError: the file cannot be written.
    """
    data = render_page(content).encode("utf-8")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise EmabenchError(
            f"cannot write {path}: {error.strerror}", hint="choose another place with --output"
        ) from None
    return len(data)
