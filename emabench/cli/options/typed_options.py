"""Which options a user typed, whatever their values."""

from __future__ import annotations

from collections.abc import Iterable

import typer


def typed_options(ctx: typer.Context, names: Iterable[str] | None = None) -> list[str]:
    """Return the names of the parameters that stand on the command line.

    Args:
        ctx: of the command.
        names: those that are asked about; None is all.
    """
    sources = {name: ctx.get_parameter_source(name) for name in (names or ctx.params)}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
