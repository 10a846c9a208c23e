"""Studies: one claim, the runs that test it, and what would refute it; YAML, fixed beforehand.

The package ships its studies in ``emabench/studies``, a file each; a user's own file is read in the
same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from emabench.errors import NotFoundError, SpecError, UnknownNameError, UsageError
from emabench.spec.experiment import load_fields, parse_yaml
from emabench.spec.grid import expand_values
from emabench.spec.model import SpecModel
from emabench.spec.paths import SHORT_NAMES, full_path, is_text
from emabench.spec.settings import load_preset
from emabench.user_paths import is_there

GIVEN_LATER = "given"
"""Stands for the value of a field that only the user can give."""
EVERY = "every"
"""Stands for every EMA scope that ``spec.scope.every_scope`` finds in the backbone."""

_FOLDER = resources.files("emabench") / "studies"
_ENDINGS = (".yaml", ".yml")


def _values(name: str, value: Any) -> list[Any]:
    """Return the values of a field: a list as it is, text as ``--set`` reads it."""
    if isinstance(value, str):
        return expand_values(value, what=name, as_text=is_text(full_path(name)))
    return list(value) if isinstance(value, list) else [value]


def _grid(fields: Any) -> Any:
    """Return a list of values for each field, by its complete path."""
    if not isinstance(fields, Mapping):
        return fields
    grid: dict[str, list[Any]] = {}
    for name, value in fields.items():
        try:
            path, values = full_path(str(name)), _values(str(name), value)
        except SpecError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None
        if not values:
            raise ValueError(f"{name} has no values")
        if path in grid:
            raise ValueError(f"{name} is given twice")
        grid[path] = values
    return grid


def _seeds(value: Any) -> Any:
    try:
        return _values("seed", value)
    except SpecError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _known_preset(name: str) -> str:
    try:
        load_preset(name)
    except UnknownNameError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None
    return name


Grid = Annotated[dict[str, list[Any]], BeforeValidator(_grid)]
"""Values by field, all combinations of them. In YAML: the fields and values of ``--set``."""
Text = Annotated[str, Field(min_length=1)]


def _holds_text(path: str) -> bool:
    """Whether text lies at a path of a study: in its own fields, or in those that its arms set."""
    first, *rest = path.split(".")
    if first == "budgets":
        group, rest = rest[1:2], rest[2:]
        if group not in (["set"], ["arms"]):
            return group == ["preset"]
    elif first != "arms":
        return first not in ("baseline", "margin")
    try:
        return is_text(full_path(".".join(rest)))
    except SpecError:
        return False


class BudgetSpec(SpecModel):
    """One size of a study: the preset underneath, what it changes there, and the seeds."""

    preset: Annotated[str, Field(min_length=1), BeforeValidator(lambda v: _known_preset(str(v)))]
    """Name of a preset: see ``emabench spec presets``."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_seeds)]
    """For example ``0..4``. Every arm is run with each of them."""
    set: Grid = Field(default_factory=dict)
    """Fields of all arms; an arm wins over them."""
    arms: list[Grid] = Field(default_factory=list)
    """What each arm sets in this budget, in the order of the arms; wins over the arm. Where arms
    are to cost the same, the number of epochs is such a field."""
    looks: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] | None = None
    """Numbers of pairs at which ``studies run --until settled`` looks; None: 5, 8, 12 and 20."""
    runs: Annotated[int, Field(ge=1)] | None = None
    """Number of runs that this comes to: a promise, checked whenever the runs are counted."""

    @model_validator(mode="after")
    def _seeds_are_distinct(self) -> Self:
        if not self.seeds or len(dict.fromkeys(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: name at least one, and none twice")
        if self.looks is not None and sorted(set(self.looks)) != self.looks:
            raise ValueError("looks: name numbers of pairs, the smallest first, and none twice")
        return self


class Budgets(SpecModel):
    """What a study costs: seconds to see that it works, minutes on a CPU, days on a GPU."""

    smoke: BudgetSpec | None = None
    cpu: BudgetSpec | None = None
    gpu: BudgetSpec | None = None

    def by_name(self) -> dict[str, BudgetSpec]:
        """Return the budgets that the study has."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: budget for name, budget in found.items() if budget is not None}


class StudySpec(SpecModel):
    """A claim and how it is tested, all of it written down before the runs."""

    has_lines: ClassVar[bool] = True
    title: Text
    claim: Text
    """What is claimed, in one sentence."""
    source: Text = "Pham et al., arXiv 2208.05744"
    """Who claims it, and where."""
    question: Text
    hypothesis: Text
    """What is expected if the claim is right."""
    refuted_by: Text
    """The outcome that would refute the claim."""
    metrics: Annotated[list[Text], Field(min_length=1)]
    """What is compared, see ``emabench compare --metric``; the first one decides."""
    quantity: Text | None = None
    """What is looked at block by block, see ``emabench stability --quantity``; decides if given."""
    margin: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """By metric: differences within it do not count. In the unit of the metric."""
    correlated: tuple[Text, Text] | None = None
    """Two figures whose rank correlation over the arms decides, see ``emabench correlate``."""
    by: Text
    """The factor: the field whose values are compared."""
    along: list[Text] = Field(default_factory=list)
    """Fields, or groups of them, that differ by design along with the factor."""
    baseline: str | int | float | bool | None
    """The value of the factor that the others are compared with."""
    given: dict[str, Text] = Field(default_factory=dict)
    """Fields that nobody can know beforehand, such as the id of a run, and what to set them to.
    Arms have ``given`` there; ``--set`` fills it in."""
    arms: Annotated[list[Grid], Field(min_length=1)]
    """Grids that are run one beside the other: arms need not have the same fields."""
    budgets: Budgets

    @property
    def factor(self) -> str:
        """Complete path of the field whose values are compared."""
        return full_path(self.by)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        unknown = sorted(set(self.margin) - set(self.metrics))
        if unknown:
            raise ValueError(f"margin: {unknown[0]} is not one of the metrics")
        if not self.budgets.by_name():
            raise ValueError("budgets: name at least one of smoke, cpu, gpu")
        try:
            factor = self.factor
        except SpecError as error:
            raise ValueError(f"by: {error.message}; {error.hint}") from None
        compared = [value for arm in self.arms for value in arm.get(factor, [])]
        if EVERY not in compared and self.baseline not in compared:
            found = ", ".join(dict.fromkeys(str(value) for value in compared)) or "nothing"
            raise ValueError(
                f"baseline: {self.baseline} is not a value of {self.by} in the arms: {found}"
            )
        for name, budget in self.budgets.by_name().items():
            if budget.arms and len(budget.arms) != len(self.arms):
                raise ValueError(f"budgets.{name}.arms: {len(budget.arms)}, not {len(self.arms)}")
        for each in (*self.along, *self.given):
            try:
                full_path(each)
            except SpecError as error:
                raise ValueError(f"{error.message}; {error.hint}") from None
        for grid in (*self.arms, *(each.set for each in self.budgets.by_name().values())):
            if SHORT_NAMES["seed"] in grid:
                raise ValueError("the seeds belong to the budgets, under seeds")
        return self


@dataclass(frozen=True)
class Study:
    """A study with its name, which labels its runs.

    Attributes:
        name: the name of its file, without the ending.
        file: where it was read.
        spec: what it says.
    """

    name: str
    file: str
    spec: StudySpec

    def budget(self, name: str) -> BudgetSpec:
        """Return one of its budgets.

        Raises:
            UnknownNameError: the study has no such budget.
        """
        budgets = self.spec.budgets.by_name()
        if name not in budgets:
            raise UnknownNameError("budget", name, budgets)
        return budgets[name]


def study_names() -> list[str]:
    """Return the names of the studies in the package, sorted."""
    names = (file.name for file in _FOLDER.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_study(name: str) -> Study:
    """Return a study of the package by its name, or a user's own by the path of its file.

    Raises:
        UnknownNameError: the package has no such study.
        NotFoundError: there is no such file.
        SpecError: the study says something that cannot be.
        UsageError: the file bears the name of another study of the package.
    """
    path = Path(name)
    if path.suffix not in _ENDINGS and len(path.parts) < 2:
        return _shipped(name)
    if not is_there(path):
        raise NotFoundError(f"no file {path}", hint="'emabench studies' lists those of the package")
    fields = load_fields(path, is_text=_holds_text)
    study = Study(path.stem, str(path), StudySpec.parse(fields, what=str(path)))
    if study.name in study_names() and study.spec != _shipped(study.name).spec:
        raise UsageError(
            f"{path} is not the study {study.name} of the package, but would label its runs so",
            hint="give the file another name",
        )
    return study


def _shipped(name: str) -> Study:
    if name not in study_names():
        raise UnknownNameError("study", name, study_names())
    file = _FOLDER / f"{name}.yaml"
    what = f"study {name}"
    fields = parse_yaml(file.read_text("utf-8"), what=what, is_text=_holds_text)
    return Study(name, str(file), StudySpec.parse(fields, what=what))
