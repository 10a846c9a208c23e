"""``emabench methods``: the self-supervised methods and their options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.errors import PluginError

PANEL = "Look things up"


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Describe only this one.")
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """List the methods, or show one with its options.

    Those from outside the package stand at the end, each with where it comes from.

    Examples:
        emabench methods
        emabench methods moco --json
        emabench methods --plugin simdist.py
    """
    from emabench.cli.app.console import err, print_json
    from emabench.methods import METHOD_PLUGINS, method_names

    if name:
        found, problems = [describe(name)], []
    else:
        entries = METHOD_PLUGINS.entries()
        found = [describe(each) for each in method_names()]
        problems = [each.problem for each in entries if each.problem]
        for each in entries:
            try:
                if each.problem is None:
                    found.append(describe(each.name))
            except PluginError as error:
                problems.append(error.message)
    if json:
        print_json(found)
    for method in () if json else found:
        origin = method["origin"]
        note = "" if origin is None else f" (plugin {origin})"
        typer.echo(f"{method['name']:14}{method['summary']}{note}")
        if name:
            typer.echo(f"{'':14}{_target_in_words(method)}")
            for option, default in method["options"].items():
                typer.echo(f"{'':14}--set method.options.{option}={default}")
    for problem in dict.fromkeys(problems):
        err().print(f"note: {problem}")


def describe(name: str) -> dict[str, Any]:
    """Return name, summary, what is known of its target, and the options with their defaults.

    ``origin`` is None for a method of the package.

    Raises:
        UnknownNameError: there is no such method.
        PluginError: its plugin cannot be loaded.
    """
    from emabench.methods import METHOD_PLUGINS, load_method

    method = load_method(name)
    return {
        "name": name,
        "summary": (method.__doc__ or "").strip().partition("\n")[0],
        "origin": METHOD_PLUGINS.origin(name),
        "has_target": bool(method.target_views),
        "stop_gradient": method.stop_gradient if method.target_views else None,
        "options": method.Options().model_dump(mode="json"),
    }


def _target_in_words(method: dict[str, Any]) -> str:
    if not method["has_target"]:
        return "It has no target network: its EMA scope is none."
    gradient = "stops" if method["stop_gradient"] else "keeps"
    return f"The published method {gradient} the gradient of its targets."
