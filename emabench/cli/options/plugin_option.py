"""``--plugin``: methods, data sets and backbones from outside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.options.kept_files import export_variable
from emabench.extensions.named_plugins import PLUGINS_VARIABLE, settings_text


def _export_plugins(context: typer.Context, value: list[Path] | None) -> list[Path] | None:
    if value and not context.resilient_parsing:
        source = context.get_parameter_source("plugin")
        is_typed = source is not None and source.name == "COMMANDLINE"
        # The variable may have empty entries, as PATH may; they are read as the current folder.
        names = [str(each) for each in value if is_typed or each.parts]
        export_variable(context, PLUGINS_VARIABLE, settings_text(names))
    return value


PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        envvar=PLUGINS_VARIABLE,
        metavar="FILE.py|MODULE",
        callback=_export_plugins,
        show_default=False,
        help="Method, data set or backbone of your own; may be repeated.",
    ),
]
"""Its callback puts it where names are looked up, here and in the processes of jobs."""
