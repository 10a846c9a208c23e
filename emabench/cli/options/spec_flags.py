"""The flags that describe experiments, the grid they span, and the way back to a command line."""

from __future__ import annotations

import functools
import inspect
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from emabench.errors import SpecError
    from emabench.spec.experiment import ExperimentSpec


def _flag(name: str, metavar: str, text: str) -> Any:
    variable = f"EMABENCH_{name.upper().replace('-', '_')}"
    return typer.Option(f"--{name}", metavar=metavar, envvar=variable, help=text)


_TEXT = str | None

PresetFlag = Annotated[
    _TEXT,
    _flag(
        "preset",
        "NAME",
        "Preset underneath, quick by default (bench: cifar10): see 'emabench spec presets'.",
    ),
]

SPEC_FLAGS: dict[str, Any] = {
    "specs": Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SPEC.yaml", show_default=False, help="Spec files; flags win over them."
        ),
    ],
    "preset": PresetFlag,
    "method": Annotated[_TEXT, _flag("method", "NAMES", "Method: see 'emabench methods'.")],
    "ema_scope": Annotated[
        _TEXT,
        _flag(
            "ema-scope",
            "SCOPES",
            "none, projector, backbone, full, from:<block>, or blocks joined by +.",
        ),
    ],
    "backbone": Annotated[_TEXT, _flag("backbone", "NAMES", "Backbone: see 'emabench backbones'.")],
    "dataset": Annotated[_TEXT, _flag("dataset", "NAMES", "Data set: see 'emabench datasets'.")],
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
    "train_subset": Annotated[_TEXT, _flag("train-subset", "N", "Train on so many images.")],
    "test_subset": Annotated[_TEXT, _flag("test-subset", "N", "Test on so many images.")],
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
}
"""Parameters that describe experiments: spec files, a flag for each common field, and ``--set``."""


_OF_THE_STUDY = ("specs", "preset", "method", "ema_scope")


def takes_spec_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all ``SPEC_FLAGS``; it finds their values in the ``params`` of its context."""
    return _with_flags(command, SPEC_FLAGS)


def takes_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the ``SPEC_FLAGS`` that say where and on what the arms of a study are run."""
    return _with_flags(command, {n: k for n, k in SPEC_FLAGS.items() if n not in _OF_THE_STUDY})


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


@dataclass(frozen=True)
class GridPoint:
    """One experiment of a grid.

    Attributes:
        spec: the complete spec, not resolved yet.
        command: the command line that runs exactly this one.
    """

    spec: ExperimentSpec
    command: str


def grid(flags: Mapping[str, Any]) -> Iterator[GridPoint]:
    """Yield the experiments that flags and spec files describe; each file spans the whole grid.

    Args:
        flags: values by the names of ``SPEC_FLAGS``; None is not given, and no spec files stand for
            the preset alone.

    Raises:
        UsageError: a preset, field or value does not exist.
        NotFoundError: a file does not exist.
    """
    from emabench.errors import SpecError
    from emabench.spec.experiment import load_fields
    from emabench.spec.grid import product
    from emabench.spec.settings import experiment_at

    preset = flags.get("preset")
    points = list(product(axes(flags)))
    sources: Sequence[Path | None] = flags.get("specs") or [None]
    for file in sources:
        fields = None if file is None else load_fields(file)
        for point in points:
            try:
                spec = experiment_at(point, preset=preset, file_fields=fields)
            except SpecError as error:
                if file is not None and fields is not None:
                    _blame(file, fields, error, preset=preset)
                raise
            yield GridPoint(spec, command_line(point, preset=preset, file=file))


def profiled(point: GridPoint) -> GridPoint:
    """Return the same experiment, with a trace of some of its steps."""
    spec = point.spec.model_copy(update={"profile": True})
    return GridPoint(spec, f"{point.command} --profile")


def _blame(file: Path, fields: Mapping[str, Any], error: SpecError, *, preset: str | None) -> None:
    """Raise the error again with the name of the file, if the file is wrong without any flag."""
    from emabench.errors import SpecError
    from emabench.spec.settings import experiment_at

    try:
        experiment_at({}, preset=preset, file_fields=fields)
    except SpecError as alone:
        if alone.message == error.message:
            message = error.message.replace("spec:", f"{file}:", 1)
            raise SpecError(message, hint=error.hint) from None


def axes(flags: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the field paths and values that the flags stand for; ``--set`` comes last and wins."""
    from emabench.spec.grid import expand_values
    from emabench.spec.paths import SHORT_NAMES, is_text
    from emabench.spec.settings import parse_assignment

    result: list[tuple[str, list[Any]]] = []
    for name, path in SHORT_NAMES.items():
        text = flags.get(name)
        if text is None:
            continue
        what = f"--{name.replace('_', '-')}"
        # A folder may be called "2020" or "a,b": a path is never a list.
        values = (
            [text] if name == "data_dir" else expand_values(text, what=what, as_text=is_text(path))
        )
        result.append((path, values))
    return result + [parse_assignment(text) for text in flags.get("set_") or ()]


def command_line(point: Mapping[str, Any], *, preset: str | None, file: Path | None) -> str:
    """Return the command that runs one point of a grid, quoted for a shell."""
    from emabench.spec.settings import DEFAULT_PRESET

    words = ["emabench", "run"] if file is None else ["emabench", "run", str(file)]
    if preset or file is None:
        words += ["--preset", preset or DEFAULT_PRESET]
    for path, value in point.items():
        words += flag_words(path, [value])
    return shlex.join(words)


def flag_words(path: str, values: Sequence[Any]) -> list[str]:
    """Return the flag, or the ``--set``, that gives a field these values; the words are unquoted.

    Args:
        path: complete path of the field.
        values: one or more.
    """
    from emabench.spec.paths import SHORT_NAMES, is_text

    short = {path: name.replace("_", "-") for name, path in SHORT_NAMES.items()}
    if path == SHORT_NAMES["data_dir"]:
        # The flag takes a folder literally, so that it has no list and no null.
        if len(values) == 1 and values[0] is not None:
            return ["--data-dir", values[0]]
        del short[path]
    text = ",".join(_typed(value, as_text=is_text(path)) for value in values)
    if path in short:
        return [f"--{short[path]}", text]
    return ["--set", f"{path.removeprefix('pretrain.')}={text}"]


def _typed(value: Any, *, as_text: bool) -> str:
    """Write a value such that ``expand_values`` reads the same one back."""
    if as_text and isinstance(value, str) and value != "null":
        special = value[:1] in ("", '"', "'") or value != value.strip()
        return (
            json.dumps(value, ensure_ascii=False)
            if special or set(value) & set(",[]{}()")
            else value
        )
    return json.dumps(value, ensure_ascii=False)
