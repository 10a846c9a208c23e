"""What a comparison reads from the store beside the records of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.metrics import MetricInfo
from emabench.records import RunRecord

if TYPE_CHECKING:
    from emabench.store import RunStore


def read_measured(
    store: RunStore, runs: Sequence[RunRecord], metrics: Sequence[MetricInfo]
) -> MetricValues:
    """Read what a comparison of these runs by these metrics needs: some queries for all of them."""
    values = store.values([run.id for run in runs], wanted_values(metrics))
    return MetricValues(values.series, values.correct, values.neighbours)
