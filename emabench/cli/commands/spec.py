"""Show, check and describe the specs of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.app.discovery import NamedCommands
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.cli.options.spec_flags import PresetFlag, takes_spec_flags

PANEL = "Look things up"

app = typer.Typer(cls=NamedCommands, add_completion=False, rich_markup_mode=None)


@app.command()
@takes_spec_flags
def show(
    ctx: typer.Context,
    json: JsonOption = False,
) -> None:
    """Print complete specs as YAML, defaults included; a grid as several documents.

    What depends on the method, the data or the machine is still open here;
    'emabench run --dry-run --yaml' settles it.

    Examples:
        emabench spec show --preset cifar10 --method moco > moco.yaml
        emabench spec show --ema-scope none,full --json
    """
    from emabench.cli.app.console import print_json
    from emabench.plans.grids import grid

    points = list(grid(ctx.params))
    if json:
        found = [point.spec.model_dump(mode="json") for point in points]
        print_json({"schema_version": 1, "specs": found})
    else:
        from emabench.spec.experiment import complete_yaml

        fields = (point.spec.model_dump(mode="json") for point in points)
        typer.echo("---\n".join(complete_yaml(each) for each in fields), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of an experiment's spec: every field, its type and what it means.

    Examples:
        emabench spec schema > experiment.schema.json
    """
    from emabench.cli.app.console import print_json
    from emabench.spec import ExperimentSpec
    from emabench.spec.settings import DEFAULT_PRESET

    fields = ExperimentSpec.model_json_schema()
    preset = {
        "type": "string",
        "default": DEFAULT_PRESET,
        "description": "Preset to start from, or none; --preset overrides it.",
    }
    fields["properties"] = {"preset": preset} | fields["properties"]
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema"} | fields)


@app.command()
def presets(json: JsonOption = False) -> None:
    """List the presets of the package.

    Examples:
        emabench spec presets
    """
    from emabench.cli.app.console import print_json
    from emabench.spec.settings import DEFAULT_PRESET, load_preset, preset_names

    found = [(name, load_preset(name)) for name in preset_names()]
    if json:
        rows = [
            {"name": name, "description": p["description"], "methods": sorted(p.get("methods", {}))}
            for name, p in found
        ]
        print_json({"schema_version": 1, "presets": rows})
        return
    for name, preset in found:
        note = " (the default)" if name == DEFAULT_PRESET else ""
        typer.echo(f"{name:10}{preset['description']}{note}")


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Spec file to check.")],
    preset: PresetFlag = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check the fields of a spec file; exit 2 with the field and the reason if one is wrong.

    Examples:
        emabench spec validate moco.yaml
    """
    from emabench.cli.app.console import print_json
    from emabench.errors import SpecError
    from emabench.methods import load_method
    from emabench.spec.experiment import load_fields
    from emabench.spec.settings import experiment_at

    fields = load_fields(file)
    try:
        spec = experiment_at({}, preset=preset, file_fields=fields)
    except SpecError as error:
        raise SpecError(error.message.replace("spec:", f"{file}:", 1), hint=error.hint) from None
    method = spec.pretrain.method
    load_method(method.name).parse_options(method.name, method.options)
    if json:
        print_json({"schema_version": 1, "file": str(file), "valid": True})
    else:
        typer.echo(f"{file}: ok")
