"""The flags that describe experiments, the grid they span, and the way back to a command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
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


SpecFiles = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SPEC.yaml", show_default=False, help="Spec files; flags win over them."
    ),
]
PresetFlag = Annotated[
    str | None,
    _flag("preset", "NAME", "Preset underneath, quick by default: see 'emabench spec presets'."),
]
MethodFlag = Annotated[str | None, _flag("method", "NAMES", "Method: see 'emabench methods'.")]
ScopeFlag = Annotated[
    str | None,
    _flag(
        "ema-scope",
        "SCOPES",
        "none, projector, backbone, full, from:<block>, or blocks joined by +.",
    ),
]
BackboneFlag = Annotated[
    str | None, _flag("backbone", "NAMES", "Backbone: see 'emabench backbones'.")
]
DatasetFlag = Annotated[str | None, _flag("dataset", "NAMES", "Data set: see 'emabench datasets'.")]
DataDirFlag = Annotated[
    str | None, _flag("data-dir", "DIR", "Folder of the images. One folder, taken literally.")
]
EpochsFlag = Annotated[
    str | None, _flag("epochs", "N", "Passes over the images; 0 evaluates the untrained network.")
]
BatchFlag = Annotated[str | None, _flag("batch-size", "N", "Images per step.")]
LrFlag = Annotated[
    str | None, _flag("lr", "LR", "Peak learning rate for a batch of optimizer.lr_batch.")
]
SeedFlag = Annotated[str | None, _flag("seed", "SEEDS", "Seed, for example 0, 0,1,2 or 0..4.")]
TrainSubsetFlag = Annotated[str | None, _flag("train-subset", "N", "Train on so many images.")]
TestSubsetFlag = Annotated[str | None, _flag("test-subset", "N", "Test on so many images.")]
DeviceFlag = Annotated[str | None, _flag("device", "NAME", "auto, cpu, cuda, cuda:1, mps…")]
PrecisionFlag = Annotated[str | None, _flag("precision", "NAME", "auto, fp32 or bf16.")]
SetFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUES",
        help="Set any field, for example ema.decay=0.99; may be repeated.",
    ),
]


@dataclass(frozen=True)
class GridPoint:
    """One experiment of a grid.

    Attributes:
        spec: the complete spec, not resolved yet.
        command: the command line that runs exactly this one.
    """

    spec: ExperimentSpec
    command: str


def grid(flags: Mapping[str, Any], files: Sequence[Path] | None) -> Iterator[GridPoint]:
    """Yield the experiments that flags and spec files describe; each file spans the whole grid.

    Args:
        flags: values of the flags by their parameter's name: ``preset``, ``set_`` and the names of
            ``emabench.spec.paths.SHORT_NAMES``; None is not given.
        files: spec files; none stands for the preset alone.

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
    sources: Sequence[Path | None] = files or [None]
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
    from emabench.spec.paths import SHORT_NAMES, is_text
    from emabench.spec.settings import DEFAULT_PRESET

    short = {path: name.replace("_", "-") for name, path in SHORT_NAMES.items()}
    words = ["emabench", "run"] if file is None else ["emabench", "run", str(file)]
    if preset or file is None:
        words += ["--preset", preset or DEFAULT_PRESET]
    for path, value in point.items():
        is_folder = path == SHORT_NAMES["data_dir"]
        text = _typed(value, as_text=is_text(path))
        if is_folder and value is not None:
            words += ["--data-dir", value]
        elif path in short and not is_folder:
            words += [f"--{short[path]}", text]
        else:
            words += ["--set", f"{path.removeprefix('pretrain.')}={text}"]
    return shlex.join(words)


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
