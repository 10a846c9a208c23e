"""The published settings nearest to an arm, and every field in which they differ from it.

They are never called equal: tables of others name few of the fields that decide on an accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.analysis.compared_arms import ArmRow
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.published.published_rows import PublishedRow, letters, published_rows
from emabench.spec.paths import value_at
from emabench.table import counted

NEVER_NAMED = "augmentation, optimiser, learning rate and the seeds"
"""What a table of accuracies does not name, so that it cannot be compared."""
_CLASSIFIERS = {"top1": "linear", "online_top1": "linear", "knn_top1": "kNN"}
"""By the metrics that others publish too."""
_SHOWN = 3
"""Rows beside each figure."""


@dataclass(frozen=True)
class PublishedNeighbour:
    """A published figure beside one of an arm.

    Attributes:
        label: of the arm.
        metric: name of the arm's figure.
        mean: of the arm, in percent.
        n: seeds that it is the mean of.
        row: what is published.
        differing: the fields in which the settings differ, each in words, ours first.
    """

    label: str
    metric: str
    mean: float
    n: int
    row: PublishedRow
    differing: tuple[str, ...]


def nearest_published(comparison: ArmComparison) -> tuple[PublishedNeighbour, ...]:
    """Return what is published of the method of each arm, the nearest settings first.

    Near is what differs in few fields, and of those in the number of epochs by the least factor. A
    figure by nearest neighbours has only such beside it, and one of a linear probe likewise.

    Args:
        comparison: its arms and metrics; those that nobody publishes are left out.
    """
    found = []
    for row in comparison.rows:
        for metric in comparison.metrics:
            cell = row.metrics[metric.name]
            if cell.mean is None or metric.name not in _CLASSIFIERS:
                continue
            n = sum(value is not None for value in cell.values)
            for published, differing in _nearest(row, metric.name):
                found.append(
                    PublishedNeighbour(
                        row.label, metric.name, cell.mean, n, published, tuple(differing)
                    )
                )
    return tuple(found)


def neighbour_values(neighbours: Sequence[PublishedNeighbour]) -> list[dict[str, Any]]:
    """Return them as plain values for JSON."""
    return [
        {**vars(each), "differing": list(each.differing), "row": dict(vars(each.row))}
        for each in neighbours
    ]


def _nearest(arm: ArmRow, metric: str) -> list[tuple[PublishedRow, list[str]]]:
    spec = arm.runs[0].spec
    epochs = max(1, int(value_at(spec, "pretrain.epochs") or 0))
    candidates = [
        (row, list(_differences(spec, arm.ema_scope, metric, row)))
        for row in published_rows()
        if letters(row.method) == letters(arm.method) and row.classifier == _CLASSIFIERS[metric]
    ]
    candidates.sort(key=lambda each: (len(each[1]), abs(math.log(each[0].epochs / epochs))))
    return candidates[:_SHOWN]


def _differences(
    spec: Mapping[str, Any], scope: str, metric: str, row: PublishedRow
) -> Iterator[str]:
    """Yield each field in which an arm and a published row differ, in words."""

    def of(path: str) -> Any:
        return value_at(spec, path)

    if scope != row.scope:
        yield f"EMA scope {scope}, not {row.scope}"
    data = "evaluation.data" if isinstance(of("evaluation.data"), Mapping) else "pretrain.data"
    dataset = of("pretrain.data.dataset")
    if letters(str(dataset)) != letters(row.dataset):
        yield f"data {dataset}, not {row.dataset}"
    elif of(f"{data}.dataset") not in (None, dataset):
        yield f"evaluated on {of(f'{data}.dataset')}"
    for name, words in (("train_subset", "trained"), ("test_subset", "tested")):
        if (count := of(f"pretrain.data.{name}")) is not None:
            yield f"{words} on {count:,} images, not all"
    backbone = of("pretrain.backbone.name")
    if row.backbone is None:
        yield f"backbone {backbone}, not said there"
    elif letters(str(backbone)) != letters(row.backbone):
        yield f"backbone {backbone}, not {row.backbone}"
    elif options := of("pretrain.backbone.options"):
        yield f"backbone with {', '.join(options)} of its own"
    if (epochs := of("pretrain.epochs")) != row.epochs:
        yield f"{counted(epochs, 'epoch')}, not {row.epochs}"
    batch = of("pretrain.batch_size")
    if row.batch is None:
        yield f"batch {batch}, not said there"
    elif str(batch) != row.batch:
        yield f"batch {batch}, not {row.batch}"
    if row.is_best_epoch:
        yield "the last epoch, not the best one by the test images"
    if row.is_online != (metric == "online_top1"):
        yield "online probe, not afterwards" if metric == "online_top1" else "not an online probe"
    if row.classifier == "kNN" and (k := of("evaluation.knn.k")) != row.neighbours:
        yield f"kNN k={k}, not {row.neighbours or 'said there'}"
    if "augmented" in row.protocol:
        yield "probe on plain images, not augmented ones"
    if (network := of("evaluation.network")) not in (None, "online"):
        yield f"network {network}"
