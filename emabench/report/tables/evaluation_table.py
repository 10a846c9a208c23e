"""Separate evaluations as a table and as plain values: what ``eval`` and ``show`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emabench.analysis.metrics import state_in_words
from emabench.records import RunRecord
from emabench.report.tables.run_table import on_other_images, run_values, spec_value
from emabench.spec.paths import value_at
from emabench.table import Table, fixed, show_known

_OF_WEIGHTS = ("method", "ema_scope", "seed")
_RESULTS = ("top1", "top5", "knn_top1")


def evaluation_table(evaluations: Sequence[RunRecord]) -> Table:
    """Return one line per evaluation, with what its weights are; accuracies in percent."""
    figures = (*_RESULTS, *on_other_images(evaluations))
    rows = [
        (
            evaluation.id,
            _weights(evaluation),
            *(show_known(spec_value(evaluation, name)) for name in _OF_WEIGHTS),
            *_own(evaluation, figures),
        )
        for evaluation in evaluations
    ]
    return _table(("weights", *_OF_WEIGHTS), figures, rows)


def own_table(evaluations: Sequence[RunRecord]) -> Table:
    """Return one line per evaluation of one and the same run."""
    figures = (*_RESULTS, *on_other_images(evaluations))
    return _table((), figures, [(each.id, *_own(each, figures)) for each in evaluations])


def evaluation_data(evaluations: Sequence[RunRecord]) -> Table:
    """Return one line per evaluation in full precision, for CSV."""
    names = list(dict.fromkeys(name for each in evaluations for name in each.results))
    own = ("id", "run", "file", "state", "smoke", *evaluated({}), *_OF_WEIGHTS)
    rows = []
    for each in evaluations:
        values = evaluation_values(each)
        results = (each.results.get(name) for name in names)
        rows.append((*(values[name] for name in own), *results, values["created_at"]))
    return Table((*own, *names, "created_at"), tuple(rows))


def evaluation_values(evaluation: RunRecord) -> dict[str, Any]:
    """Return an evaluation as plain values for JSON.

    ``run`` is the run that its weights are from, ``file`` their path: one of them is null.
    """
    values = run_values(evaluation)
    weights = str(evaluation.spec.get("weights"))
    is_file = Path(weights).is_absolute()
    return {
        "id": evaluation.id,
        "run": None if is_file else weights,
        "file": weights if is_file else None,
        "name": evaluation.name,
        "state": evaluation.state.value,
        "smoke": evaluation.smoke,
        **evaluated(evaluation.spec),
        **{name: spec_value(evaluation, name) for name in _OF_WEIGHTS},
        **{name: values[name] for name in ("results", "cost", "identity", "fingerprint")},
        **{name: values[name] for name in ("command", "created_at", "warnings")},
    }


def evaluated(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose backbone an evaluation is of, on which images, and with how many neighbours."""
    paths = {
        "network": "network",
        "dataset": "data.dataset",
        "train_subset": "data.train_subset",
        "knn_k": "knn.k",
    }
    return {name: value_at(spec, f"evaluation.{path}") for name, path in paths.items()}


def _table(
    headers: tuple[str, ...], figures: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> Table:
    whole = ("evaluation", *headers, "network", "data set", "k", "state", *figures)
    right = frozenset({"seed", "k", *figures})
    return Table(whole, tuple(rows), right=right, spare=("top5", "data set", "k", "method"))


def _own(evaluation: RunRecord, figures: tuple[str, ...]) -> tuple[str, ...]:
    found = evaluated(evaluation.spec)
    subset = found["train_subset"]
    return (
        show_known(found["network"]),
        show_known(found["dataset"]) + ("" if subset is None else f" ({subset})"),
        show_known(found["knn_k"]),
        state_in_words(evaluation),
        *(fixed(evaluation.results.get(name)) for name in figures),
    )


def _weights(evaluation: RunRecord) -> str:
    """Return the id of the run, or the name of the file."""
    return Path(str(evaluation.spec.get("weights"))).name
