"""``emabench methods``: the self-supervised methods and their options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from emabench.cli.options.output_forms import JsonOption

PANEL = "Look things up"


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Describe only this one.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the methods, or show one with its options.

    Examples:
        emabench methods
        emabench methods moco --json
    """
    from emabench.cli.app.console import print_json
    from emabench.methods import method_names

    found = [describe(each) for each in ([name] if name else method_names())]
    if json:
        print_json(found)
        return
    for method in found:
        typer.echo(f"{method['name']:14}{method['summary']}")
        if name:
            typer.echo(f"{'':14}{_target_in_words(method)}")
            for option, default in method["options"].items():
                typer.echo(f"{'':14}--set method.options.{option}={default}")


def describe(name: str) -> dict[str, Any]:
    """Return name, summary, what is known of its target, and the options with their defaults.

    Raises:
        UnknownNameError: there is no such method.
    """
    from emabench.methods import load_method

    method = load_method(name)
    return {
        "name": name,
        "summary": (method.__doc__ or "").strip().partition("\n")[0],
        "has_target": bool(method.target_views),
        "stop_gradient": method.stop_gradient if method.target_views else None,
        "options": method.Options().model_dump(mode="json"),
    }


def _target_in_words(method: dict[str, Any]) -> str:
    if not method["has_target"]:
        return "It has no target network: its EMA scope is none."
    gradient = "stops" if method["stop_gradient"] else "keeps"
    return f"The published method {gradient} the gradient of its targets."
