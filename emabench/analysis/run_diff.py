"""What differs between two runs: spec, identity, environment, results and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis.arms import fields_of, flat_fields, image_fields
from emabench.analysis.statistics import Packed, image_error
from emabench.records import RunRecord
from emabench.table import Table, fixed, show_known, signed, significant

SCHEMA_VERSION = 1
_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One field or figure that is not the same in both runs; None is unknown or not there.

    Attributes:
        name: path of a field, or name of a figure.
        first: its value in the first run.
        second: its value in the second run.
        change: second - first of a result, second / first of a cost; None where that has no
            meaning.
    """

    name: str
    first: Any
    second: Any
    change: float | None = None


@dataclass(frozen=True)
class ImagesDiffer:
    """On how many test images an accuracy of two runs differs.

    Attributes:
        name: of the accuracy.
        images: that both runs were tested on.
        only_first: images that only the first run classified rightly.
        only_second: images that only the second run classified rightly.
        se: standard error of the difference of the accuracies from the test images alone, in
            percentage points.
    """

    name: str
    images: int
    only_first: int
    only_second: int
    se: float


@dataclass(frozen=True)
class RunDiff:
    """What differs between two runs, part by part; a part without differences is empty."""

    first: RunRecord
    second: RunRecord
    spec: tuple[Difference, ...]
    environment: tuple[Difference, ...]
    results: tuple[Difference, ...]
    cost: tuple[Difference, ...]
    images: tuple[ImagesDiffer, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs at all."""
        return not (self.spec or self.environment or self.results or self.cost or self.images)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        parts = {
            name: [asdict(each) for each in getattr(self, name)]
            for name in ("spec", "environment", "results", "cost", "images")
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "first": self.first.id,
            "second": self.second.id,
            **parts,
        }


def diff_runs(
    first: RunRecord,
    second: RunRecord,
    correct: Mapping[tuple[str, str], tuple[bytes, int]] | None = None,
) -> RunDiff:
    """Compare two runs field by field.

    Args:
        first: a run, or a separate evaluation.
        second: another one.
        correct: which test images they classified rightly, by run and result, where it is known.
    """
    specs = [{**flat_fields(run.spec), **run.identity} for run in (first, second)]
    results = [dict(run.results) for run in (first, second)]
    costs = [run.cost.as_dict() for run in (first, second)]
    return RunDiff(
        first,
        second,
        spec=tuple(_differing(*specs)),
        environment=tuple(_differing(_environment(first), _environment(second))),
        results=tuple(
            Difference(each.name, each.first, each.second, _minus(each.second, each.first))
            for each in _differing(*results)
        ),
        cost=tuple(
            Difference(each.name, each.first, each.second, _over(each.second, each.first))
            for each in _differing(*costs)
        ),
        images=tuple(_images(first, second, correct or {})),
    )


def diff_tables(diff: RunDiff) -> list[tuple[str, Table]]:
    """Return a table for every part that differs, with its title."""
    pair = (f"{diff.first.id} (a)", f"{diff.second.id} (b)")
    spec = [(each.name, show_known(each.first), show_known(each.second)) for each in diff.spec]
    where = [
        (each.name, show_known(each.first), show_known(each.second)) for each in diff.environment
    ]
    results = [
        (each.name, fixed(each.first, 4), fixed(each.second, 4), signed(each.change, 4))
        for each in diff.results
    ]
    costs = [
        (each.name, significant(each.first), significant(each.second), fixed(each.change, 3))
        for each in diff.cost
    ]
    images = [
        (each.name, str(each.images), str(each.only_first), str(each.only_second), fixed(each.se))
        for each in diff.images
    ]
    numbers = frozenset((*pair, "b - a", "b / a"))
    counts = ("images", "only a right", "only b right", "± 1 se")
    parts = [
        ("spec and identity", Table(("field", *pair), tuple(spec))),
        ("environment", Table(("", *pair), tuple(where))),
        ("results", Table(("result", *pair, "b - a"), tuple(results), right=numbers)),
        ("cost of all attempts", Table(("reading", *pair, "b / a"), tuple(costs), right=numbers)),
        ("test images", Table(("accuracy", *counts), tuple(images), right=frozenset(counts))),
    ]
    return [(title, table) for title, table in parts if table.rows]


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(name, first.get(name), second.get(name))
        for name in dict.fromkeys((*first, *second))
        if first.get(name, _ABSENT) != second.get(name, _ABSENT)
    ]


def _environment(run: RunRecord) -> dict[str, Any]:
    if run.environment is None:
        return {}
    values = dict(vars(run.environment))
    versions = values.pop("versions")
    return {**values, **versions}


def _images(
    first: RunRecord, second: RunRecord, correct: Mapping[tuple[str, str], Packed]
) -> list[ImagesDiffer]:
    if image_fields(fields_of(first)) != image_fields(fields_of(second)):
        return []
    found = []
    for name in first.results:
        one, two = correct.get((first.id, name)), correct.get((second.id, name))
        error = None if one is None or two is None else image_error([(two, one)])
        if error is not None and (error.gained or error.lost):
            counts = (error.images, round(error.lost), round(error.gained))
            found.append(ImagesDiffer(name, *counts, error.se))
    return found


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
