"""``--download``: what may be fetched from the network, and only then."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.options.kept_files import export_variable
from emabench.data.downloads import DOWNLOAD_VARIABLE


def _export_download(context: typer.Context, value: bool) -> bool:
    export_variable(context, DOWNLOAD_VARIABLE, "1" if value else None)
    return value


DownloadOption = Annotated[
    bool,
    typer.Option(
        "--download",
        envvar=DOWNLOAD_VARIABLE,
        callback=_export_download,
        help="Fetch the data set where it is missing.",
    ),
]
"""Its callback puts it where the data is opened, here and in the processes of jobs."""
