"""``emabench weights``: take the trained backbone of a run elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from emabench.artifacts.layout import artifacts_folder
from emabench.cli.options.completion import complete_runs
from emabench.cli.options.kept_files import ArtifactsOption
from emabench.cli.options.output_forms import JsonOption, OverwriteOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.errors import EmabenchError, NotFoundError, UnknownNameError, UsageError
from emabench.user_paths import check_output, is_folder, is_there

PANEL = "Read"

_NETWORKS = ("online", "target", "average")


def command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Id of a run (the first characters are enough), or @last.",
            autocompletion=complete_runs,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Safetensors file to write.")
    ],
    network: Annotated[
        str,
        typer.Option(
            "--network",
            metavar="online|target|average",
            help="Network to take the backbone of.",
        ),
    ] = "online",
    plugin: PluginOption = None,
    force: OverwriteOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Copy the weights of a finished run's backbone, and print the code that loads them with timm.

    A model card is put beside them, README.md: spec, data, accuracies with intervals, command.

    Examples:
        emabench weights @last -o backbone.safetensors
        emabench weights 3f2a --network target -o target.safetensors
    """
    if network not in _NETWORKS:
        raise UnknownNameError("network", network, _NETWORKS)
    check_output(output)
    if is_there(output) and not force:
        raise UsageError(f"{output} exists already", hint="--force overwrites it")
    if not is_folder(output.parent):
        raise NotFoundError(f"there is no folder {output.parent}", hint=f"mkdir -p {output.parent}")
    from emabench.cli.app.console import err, print_json
    from emabench.evaluation.weights_file import digest, read_header
    from emabench.extensions.plugins_at_hand import expect_plugins
    from emabench.networks.backbone_plugins import BACKBONE_PLUGINS
    from emabench.networks.loading_code import loading_code
    from emabench.report.model_card import accuracies_of, card_place, model_card
    from emabench.spec.paths import SHORT_NAMES, value_at
    from emabench.store import RunStore
    from emabench.training.weights import weights_file

    with RunStore.open(db, mode="read") as store:
        found = store.run(run)
        if found.is_evaluation:
            raise UsageError(
                f"{found.title} has no weights of its own",
                hint=f"it evaluates {found.spec.get('weights')}",
            )
        source = weights_file(artifacts_folder(db, artifacts), found.id, network)
        accuracies = accuracies_of(store, found, network=source.stem)
    read_header(source)  # damaged weights are not handed on
    backbone = str(value_at(found.spec, SHORT_NAMES["backbone"]))
    for note in expect_plugins(found.title, found.identity, (BACKBONE_PLUGINS, backbone)):
        err().print(f"note: {note}")
    place = card_place(output)
    if place.exists() and place.name != "README.md" and not force:
        raise UsageError(f"{place} exists already", hint="--force overwrites it")
    code = loading_code(found.spec, output)
    with _written(output, overwrite=force) as file:
        shutil.copyfile(source, file)
    card = model_card(
        found,
        output,
        network=source.stem,
        digest=digest(output),
        code=loading_code(found.spec, Path(output.name)),
        accuracies=accuracies,
    )
    with _written(place, overwrite=True) as file:
        file.write_text(card, "utf-8")
    err().print(f"model card: {place}")
    if json:
        print_json(
            {
                "schema_version": 1,
                "run": found.id,
                "network": network,
                "file": str(output),
                "card": str(place),
                "code": code,
            }
        )
    else:
        typer.echo(code)


@contextmanager
def _written(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a draft such that a reader of ``output`` sees the old file or the whole new one."""
    from emabench.store.transfer.atomic_file import draft

    try:
        with draft(output, overwrite=overwrite) as file:
            yield file
    except FileExistsError:
        raise UsageError(f"{output} exists already", hint="--force overwrites it") from None
    except OSError as error:
        raise EmabenchError(
            f"cannot write {output}: {error.strerror}", hint="choose a place that you can write to"
        ) from None
