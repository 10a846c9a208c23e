"""Asking before something is deleted: on a terminal only; elsewhere ``--yes`` has to be said."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from emabench.errors import UsageError

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def agreed(question: str, *, yes: bool) -> bool:
    """Return whether the user agrees.

    Args:
        question: what is to be done, and what is lost by it.
        yes: whether the user agreed on the command line already.

    Raises:
        UsageError: nobody is there to be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question}: there is nobody to ask", hint="--yes goes ahead without asking"
        )
    return typer.confirm(f"{question}?", err=True)
