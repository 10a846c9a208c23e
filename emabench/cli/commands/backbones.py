"""``emabench backbones``: the models of timm, and the blocks that one is cut into."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.errors import NotFoundError

if TYPE_CHECKING:
    from emabench.cost.flops import BlockCost

PANEL = "Look things up"


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show the blocks of this model.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", metavar="TEXT", help="List names that match this text or pattern."
        ),
    ] = None,
    image_size: Annotated[
        int, typer.Option("--image-size", min=8, max=1024, help="Side of the images in pixels.")
    ] = 32,
    stem: Annotated[
        str, typer.Option("--stem", metavar="NAME", help="auto, original, 3x3 or 3x3-stride2.")
    ] = "auto",
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """List the backbones, or the blocks of one with their parameters and FLOPs.

    Those of plugins come first, each with where it comes from. FLOPs are those of one image's
    forward pass; a multiply-add counts as 2.

    Examples:
        emabench backbones resnet18
        emabench backbones vit_tiny_patch16_224 --image-size 224 --stem original
        emabench backbones --search convnext
    """
    if name is None:
        _list(search, json=json)
    else:
        _show(name, image_size, stem, json=json)


def _list(search: str | None, *, json: bool) -> None:
    import timm

    from emabench.cli.app.console import err, print_json
    from emabench.networks.backbone import family_of
    from emabench.networks.backbone_plugins import BACKBONE_PLUGINS, PIXELS
    from emabench.spec.pretrain import SMALL_NETWORKS

    entries = BACKBONE_PLUGINS.entries()
    origins = {entry.name: entry.origin for entry in entries if entry.problem is None}
    pattern = search if search is None or set(search) & set("*?[") else f"*{search}*"
    mine = fnmatch.filter(origins, pattern or "*")
    found = fnmatch.filter([*SMALL_NETWORKS, PIXELS], pattern or "*")
    found += [name for name in timm.list_models(pattern or "") if name not in origins]
    for entry in entries:
        if entry.problem is not None:
            err().print(f"note: {entry.problem}")
    if not found and not mine:
        raise NotFoundError(
            f"no backbone has {search!r} in its name", hint="'emabench backbones' lists all"
        )
    models = {each: SMALL_NETWORKS.get(each, {}).get("name", each) for each in found}
    rows = [{"name": each, "family": None, "origin": origins[each]} for each in mine]
    families = {each: None if each == PIXELS else family_of(models[each]) for each in found}
    rows += [{"name": n, "family": family, "origin": None} for n, family in families.items()]
    if json:
        print_json({"schema_version": 1, "backbones": rows})
        return
    for row in rows:
        cut = "one block" if row["family"] is None else f"cut into blocks ({row['family']})"
        cut = cut if row["origin"] is None else f"plugin {row['origin']}"
        typer.echo(f"{row['name']:44} {cut}")


def _show(name: str, image_size: int, stem: str, *, json: bool) -> None:
    from emabench.cli.app.console import print_json
    from emabench.cost.flops import block_costs
    from emabench.networks.backbone import build_backbone, chosen_stem, family_of
    from emabench.networks.backbone_plugins import PIXELS
    from emabench.spec import BackboneSpec

    spec = BackboneSpec.parse({"name": name, "stem": stem}, what="backbone").as_timm()
    backbone = build_backbone(spec, image_size)
    fitted = chosen_stem(spec, image_size)
    costs = block_costs(backbone.blocks, image_size)
    if json:
        blocks: list[dict[str, Any]] = [
            {"name": cost.name, "parameters": cost.parameters, "flops": cost.flops}
            for cost in costs
        ]
        family = None if name == PIXELS else family_of(spec.name)
        head = {"name": name, "family": family, "image_size": image_size, "stem": fitted}
        head["cut"] = backbone.cut
        print_json(
            {"schema_version": 1, **head, "feature_dim": backbone.feature_dim, "blocks": blocks}
        )
        return
    features = f"{backbone.feature_dim} features"
    _print_blocks(f"{name} at {image_size} pixels, stem {fitted}, {features}", costs)


def _print_blocks(title: str, costs: list[BlockCost]) -> None:
    from rich import box
    from rich.table import Table

    from emabench.cli.app.console import out

    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("block", "all")
    table.add_column("parameters", f"{sum(cost.parameters for cost in costs):,}", justify="right")
    table.add_column("MFLOPs", f"{sum(cost.flops for cost in costs) / 1e6:,.2f}", justify="right")
    for cost in costs:
        table.add_row(cost.name, f"{cost.parameters:,}", f"{cost.flops / 1e6:,.2f}")
    console = out()
    console.print(title)
    console.print(table)
