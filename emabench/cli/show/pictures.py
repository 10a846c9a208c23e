"""What a command that draws says of its picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emabench.cli.app.console import err, print_cautions, print_json

if TYPE_CHECKING:
    from emabench.report.figures._gathered import GatheredPicture


def draw_picture(gathered: GatheredPicture, output: Path, *, json: bool) -> None:
    """Write a picture to a file, and say so.

    Args:
        gathered: its numbers.
        output: the file.
        json: whether the values that are drawn are printed.
    """
    from emabench.report.figures._sheet import save_figure

    save_figure(gathered.figure(), output)
    if json:
        print_json({**gathered.to_json(), "file": str(output)})
    print_cautions((), gathered.cautions)
    print_cautions(gathered.notes)
    err().print(f"{output} written")
