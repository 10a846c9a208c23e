"""From the flags and files of a command line to a grid of experiments, and back."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from emabench.errors import SpecError, UsageError
from emabench.events import Notice
from emabench.spec.experiment import ExperimentSpec, load_fields
from emabench.spec.fingerprint import fingerprint
from emabench.spec.grid import expand_values, product, typed
from emabench.spec.paths import SHORT_NAMES, field_value, full_path, is_text
from emabench.spec.plain import check_label, shown
from emabench.spec.settings import DEFAULT_PRESET, experiment_at, parse_assignment

if TYPE_CHECKING:
    from emabench.events import Event, Listener
    from emabench.records import PlannedRun
    from emabench.training.given_weights import KeptWeights

Axes = Sequence[tuple[str, list[Any]]]
"""Complete field paths with their values."""


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
        flags: values by name, ``preset`` and ``specs`` among them; None is not given, and no spec
            files stand for the preset alone.

    Raises:
        UsageError: a preset, field or value does not exist.
        NotFoundError: a file does not exist.
    """
    preset = flags.get("preset")
    points = list(product(axes(flags)))
    sources: Sequence[Path | None] = flags.get("specs") or [None]
    for file in sources:
        fields = None if file is None else load_fields(file)
        for point in points:
            yield _grid_point(point, preset=preset, file=file, fields=fields)


def single_point(
    values: Mapping[str, Any],
    more: Mapping[str, Any],
    *,
    preset: str | None = None,
    file: Path | None = None,
) -> GridPoint:
    """Return one experiment from values by name: text as on the command line, or plain values.

    Args:
        values: by the name of a flag, such as ``ema_scope``.
        more: by the path of any field; these win, as ``--set`` does.
        preset: underneath; None is the one the file names, else the default.
        file: a spec file.

    Raises:
        UsageError: a preset, field or value does not exist, or a text stands for several values.
        NotFoundError: there is no such file.
    """
    point = {
        path: _one_value(field, path, value)
        for field, value in (*values.items(), *more.items())
        for path in (full_path(field),)
    }
    fields = None if file is None else load_fields(file)
    return _grid_point(point, preset=preset, file=file, fields=fields)


def _one_value(name: str, path: str, value: Any) -> Any:
    """Return the value that a field shall have; many would be a grid.

    Raises:
        UsageError: there are many.
    """
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, str):
        literal = path == SHORT_NAMES["data_dir"]
        found = [value] if literal else expand_values(value, what=name, as_text=is_text(path))
    elif isinstance(value, bool):
        found = [value]
    elif isinstance(value, Real):  # of numpy, too
        found = [int(value) if isinstance(value, Integral) else float(value)]
    elif isinstance(value, Mapping) or not isinstance(value, Iterable):
        found = [value]
    else:
        several = list(value)
        try:
            found = [field_value(path, several, what=name)]  # of a field that holds a list
        except SpecError:
            found = several
    if len(found) != 1:
        raise UsageError(
            f"{name}={shown(value)} stands for {len(found)} values, and a run has one",
            hint="call run for each of them; 'emabench run' and 'emabench queue' make grids",
        )
    return found[0]


def _grid_point(
    point: Mapping[str, Any],
    *,
    preset: str | None,
    file: Path | None,
    fields: Mapping[str, Any] | None,
) -> GridPoint:
    try:
        spec = experiment_at(point, preset=preset, file_fields=fields)
    except SpecError as error:
        if file is not None and fields is not None:
            _blame(file, fields, error, preset=preset)
        raise
    return GridPoint(spec, command_line(point, preset=preset, file=file))


def profiled(point: GridPoint) -> GridPoint:
    """Return the same experiment, with a trace of some of its steps."""
    spec = point.spec.model_copy(update={"profile": True})
    return GridPoint(spec, f"{point.command} --profile")


def _blame(file: Path, fields: Mapping[str, Any], error: SpecError, *, preset: str | None) -> None:
    """Raise the error again with the name of the file, if the file is wrong without any flag."""
    try:
        experiment_at({}, preset=preset, file_fields=fields)
    except SpecError as alone:
        if alone.message == error.message:
            message = error.message.replace("spec:", f"{file}:", 1)
            raise SpecError(message, hint=error.hint) from None


def axes(
    flags: Mapping[str, Any], fields: Mapping[str, str] = SHORT_NAMES
) -> list[tuple[str, list[Any]]]:
    """Return the field paths and values that the flags stand for; ``--set`` comes last and wins.

    Args:
        flags: values by name, and ``set_``; None is not given.
        fields: the complete path of each field that has a flag, by the flag's name.
    """
    result: list[tuple[str, list[Any]]] = []
    for name, path in fields.items():
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


def resolve_all(
    points: Iterable[GridPoint],
    *,
    name: str | None = None,
    study: str | None = None,
    kept: KeptWeights | None = None,
    on_event: Listener,
) -> list[PlannedRun]:
    """Return the resolved experiments.

    Args:
        points: the experiments.
        name: label of the runs.
        study: that they belong to.
        kept: where the runs are looked up whose weights they are given; None: nowhere.
        on_event: listens.

    Raises:
        UsageError: one of them cannot be.
        DataError: the images cannot be read.
    """
    from emabench import experiment
    from emabench.data.load_with_progress import loading_once

    check_labels(name, study)
    asked = list(points)
    plans: dict[int, PlannedRun] = {}
    groups = sorted(_seeds_together(asked), key=lambda places: _data(asked, places))
    with _notices_once(on_event) as listen:
        for _, of_data in groupby(groups, key=lambda places: _data(asked, places)):
            with loading_once():  # it holds what it loads: one data set at a time
                for places in of_data:
                    found = experiment.resolve_seeds(
                        asked[next(iter(places.values()))].spec,
                        {seed: asked[place].command for seed, place in places.items()},
                        name=name,
                        kept=kept,
                        on_event=partial(listen, places.values()),
                    )
                    named = (replace(plan, study=study) for plan in found)
                    plans.update(zip(places.values(), named, strict=True))
    return _with_floors_once([plans[place] for place in range(len(asked))])


@contextmanager
def _notices_once(on_event: Listener) -> Iterator[Callable[[Iterable[int], Event], None]]:
    """Yield what listens for some runs; each notice is passed on at the end, once for all runs."""
    notes: dict[str, set[int]] = defaultdict(set)

    def listen(runs: Iterable[int], event: Event) -> None:
        if isinstance(event, Notice):
            notes[event.message].update(runs)
        else:
            on_event(event)

    try:
        yield listen
    finally:
        for text, runs in notes.items():
            on_event(Notice(text if len(runs) == 1 else f"{text} ({len(runs)} runs)"))


def _data(points: Sequence[GridPoint], places: Mapping[int, int]) -> str:
    return points[next(iter(places.values()))].spec.pretrain.data.model_dump_json()


def _seeds_together(points: Sequence[GridPoint]) -> list[dict[int, int]]:
    """Return the points that differ in their seed alone: the place of each by its seed."""
    groups: list[dict[int, int]] = []
    of_spec: dict[str, dict[int, int]] = {}
    for place, point in enumerate(points):
        pretrain = point.spec.pretrain
        bare = point.spec.model_copy(update={"pretrain": pretrain.model_copy(update={"seed": 0})})
        text = bare.model_dump_json()
        if pretrain.seed in of_spec.setdefault(text, {}) or not of_spec[text]:
            of_spec[text] = {}
            groups.append(of_spec[text])
        of_spec[text][pretrain.seed] = place
    return groups


def _with_floors_once(plans: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Leave the floors to the first run of the same images and backbone."""
    seen: set[str] = set()
    found = []
    for plan in plans:
        evaluation = dict(plan.spec["evaluation"])
        if evaluation.get("floors"):
            pretrain = plan.spec["pretrain"]
            images = (plan.identity["data"], pretrain["data"])
            key = fingerprint([pretrain["backbone"], evaluation, *images])
            if key in seen:
                del evaluation["floors"]
                plan = replace(plan, spec={**plan.spec, "evaluation": evaluation})
            seen.add(key)
        found.append(plan)
    return found


def check_labels(name: str | None, study: str | None) -> None:
    """Check the names that a user gives to runs.

    Raises:
        UsageError: one is empty, or has what is not shown.
    """
    for what, label in (("--name", name), ("--study", study)):
        if label is not None:
            check_label(label, what=what)


def command_line(point: Mapping[str, Any], *, preset: str | None, file: Path | None) -> str:
    """Return the command that runs one point of a grid, quoted for a shell."""
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
    short = {path: name.replace("_", "-") for name, path in SHORT_NAMES.items()}
    if path == SHORT_NAMES["data_dir"]:
        # The flag takes a folder literally, so that it has no list and no null.
        if len(values) == 1 and values[0] is not None:
            return ["--data-dir", values[0]]
        del short[path]
    text = ",".join(typed(value, as_text=is_text(path)) for value in values)
    if path in short:
        return [f"--{short[path]}", text]
    return ["--set", f"{path.removeprefix('pretrain.')}={text}"]
