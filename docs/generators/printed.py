"""What commands print about the example database, word for word."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

from emabench.cli.app.main import run

ROOT = Path(__file__).parents[2]


def printed(line: str) -> str:
    """Run a command line in the folder of the checkout, and return its stdout as Markdown.

    Args:
        line: begins with ``emabench``. With ``--markdown`` its output is a table of the page,
            and otherwise a block of text.

    Raises:
        ValueError: the command fails.
    """
    output, said = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(said),
    ):
        code = run(shlex.split(line)[1:])
    if code != 0:
        raise ValueError(f"{line}: exit code {code}: {said.getvalue()}")
    text = re.sub(r" +$", "", output.getvalue(), flags=re.MULTILINE).strip("\n")
    if "--markdown" in line:
        return text
    return f"```text\n{text}\n```"
