"""The flags that describe experiments; ``plans.grids`` reads their values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emabench.cli.options.completion import (
    complete_backbones,
    complete_datasets,
    complete_methods,
    complete_presets,
    complete_scopes,
)
from emabench.cli.options.download_option import DownloadOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.cli.options.typed_options import typed_options


def _flag(name: str, metavar: str, text: str, values: Callable[..., Any] | None = None) -> Any:
    variable = f"EMABENCH_{name.upper().replace('-', '_')}"
    return typer.Option(
        f"--{name}", metavar=metavar, envvar=variable, help=text, autocompletion=values
    )


_TEXT = str | None

PresetFlag = Annotated[
    _TEXT,
    _flag(
        "preset",
        "NAME",
        "Preset to start from; quick by default (bench: cifar10): see 'emabench spec presets'.",
        complete_presets,
    ),
]

SPEC_FLAGS: dict[str, Any] = {
    "specs": Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SPEC.yaml", show_default=False, help="Spec files; flags override them."
        ),
    ],
    "preset": PresetFlag,
    "method": Annotated[
        _TEXT, _flag("method", "NAMES", "Method: see 'emabench methods'.", complete_methods)
    ],
    "ema_scope": Annotated[
        _TEXT,
        _flag(
            "ema-scope",
            "SCOPES",
            "none, projector, backbone, full, from:<block>, or blocks joined by +.",
            complete_scopes,
        ),
    ],
    "backbone": Annotated[
        _TEXT, _flag("backbone", "NAMES", "Backbone: see 'emabench backbones'.", complete_backbones)
    ],
    "init": Annotated[
        _TEXT,
        _flag(
            "init",
            "WEIGHTS",
            "Start the backbone from a file, a finished run, or timm (asks the hub).",
        ),
    ],
    "dataset": Annotated[
        _TEXT, _flag("dataset", "NAMES", "Data set: see 'emabench datasets'.", complete_datasets)
    ],
    "data_dir": Annotated[
        _TEXT, _flag("data-dir", "DIR", "Folder of the images. One folder, taken literally.")
    ],
    "epochs": Annotated[
        _TEXT, _flag("epochs", "N", "Passes over the images; 0 evaluates the untrained network.")
    ],
    "batch_size": Annotated[_TEXT, _flag("batch-size", "N", "Images per step.")],
    "lr": Annotated[
        _TEXT, _flag("lr", "LR", "Peak learning rate for a batch of optimizer.lr_batch.")
    ],
    "seed": Annotated[_TEXT, _flag("seed", "SEEDS", "Seed, for example 0, 0,1,2 or 0..4.")],
    "train_subset": Annotated[_TEXT, _flag("train-subset", "N", "Train on this many images.")],
    "test_subset": Annotated[_TEXT, _flag("test-subset", "N", "Test on this many images.")],
    "image_size": Annotated[_TEXT, _flag("image-size", "N", "Side of the images in pixels.")],
    "device": Annotated[_TEXT, _flag("device", "NAME", "auto, cpu, cuda, cuda:1, mps…")],
    "devices": Annotated[_TEXT, _flag("devices", "N", "Devices that train a run together.")],
    "precision": Annotated[_TEXT, _flag("precision", "NAME", "auto, fp32 or bf16.")],
    "set_": Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUES",
            help="Set any field, for example ema.decay=0.99; may be repeated.",
        ),
    ],
    "download": DownloadOption,
    "plugin": PluginOption,
}
"""Parameters that describe experiments: spec files, a flag for each common field, ``--set``, and
where names come from that the package does not know."""


_WHERE_FROM = ("download", "plugin")
_OF_THE_STUDY = ("specs", "preset", "method", "ema_scope")


def takes_spec_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all ``SPEC_FLAGS``; it finds their values in the ``params`` of its context."""
    return _with_flags(command, SPEC_FLAGS)


def takes_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the ``SPEC_FLAGS`` that say where and on what the arms of a study are run."""
    return _with_flags(command, {n: k for n, k in SPEC_FLAGS.items() if n not in _OF_THE_STUDY})


def given_fields(ctx: typer.Context, *more: str) -> list[str]:
    """Return the names of the ``SPEC_FLAGS`` by which the user described an experiment.

    Args:
        ctx: of the command.
        more: names of further parameters to look at.
    """
    return typed_options(ctx, (*(name for name in SPEC_FLAGS if name not in _WHERE_FROM), *more))


def _with_flags(command: Callable[..., None], kinds: Mapping[str, Any]) -> Callable[..., None]:
    own = inspect.signature(command, eval_str=True).parameters
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in kinds.items()
    ]
    context, *others = (p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.values())

    @functools.wraps(command)
    def with_flags(**values: Any) -> None:
        command(**{name: value for name, value in values.items() if name in own})

    parameters = [context, *flags, *others]
    with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_flags.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_flags
