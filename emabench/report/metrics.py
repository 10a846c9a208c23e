"""The metrics that a comparison knows: unit, direction, and where a run keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from emabench.errors import UnknownNameError, UsageError
from emabench.records import RunRecord

Kind = Literal["difference", "ratio"]


@dataclass(frozen=True)
class MetricInfo:
    """One metric.

    Attributes:
        name: as ``--metric`` takes it.
        unit: of the stored values.
        kind: how two arms are compared: accuracies by their difference, costs by their ratio.
        higher_is_better: the direction.
        read: gets the value of a run; None is unknown.
        shown: divides the value for display, and the unit that this gives.
        note: what the reader of a comparison should know.
    """

    name: str
    unit: str
    kind: Kind
    higher_is_better: bool
    read: Callable[[RunRecord], float | None]
    shown: tuple[float, str] | None = None
    note: str | None = None


def parse_metrics(text: str) -> list[MetricInfo]:
    """Read a comma list such as ``top1,throughput``.

    Raises:
        UsageError: the list or one of its parts is empty.
        UnknownNameError: there is no such metric; near ones are proposed.
    """
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UsageError(
            f"--metric {text!r} has an empty part",
            hint="write for example --metric top1,throughput",
        )
    for name in names:
        if name not in _METRICS:
            raise UnknownNameError("metric", name, _METRICS)
    return [_METRICS[name] for name in dict.fromkeys(names)]


def _result(name: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.results.get(name)


def _cost(name: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.cost.as_dict()[name]


def _peak_memory(run: RunRecord) -> float | None:
    """Read the memory that the device of the run is short of."""
    if run.environment is None:
        return None
    on_cpu = run.environment.device_kind == "cpu"
    return run.cost.host_peak_rss if on_cpu else run.cost.device_peak_allocated


def _by_name(metrics: Iterable[MetricInfo]) -> dict[str, MetricInfo]:
    return {metric.name: metric for metric in metrics}


_MIB = (float(2**20), "MiB")
_METRICS = _by_name(
    [
        MetricInfo("top1", "%", "difference", True, _result("top1")),
        MetricInfo("top5", "%", "difference", True, _result("top5")),
        MetricInfo("knn_top1", "%", "difference", True, _result("knn_top1")),
        MetricInfo("knn_top5", "%", "difference", True, _result("knn_top5")),
        MetricInfo("online_top1", "%", "difference", True, _result("online_top1")),
        MetricInfo("throughput", "images/s", "ratio", True, _cost("throughput")),
        MetricInfo("step_ms", "ms", "ratio", False, _cost("step_ms")),
        MetricInfo("train_s", "s", "ratio", False, _cost("train_s")),
        MetricInfo("total_s", "s", "ratio", False, _cost("total_s")),
        MetricInfo(
            "peak_memory",
            "bytes",
            "ratio",
            False,
            _peak_memory,
            shown=_MIB,
            note="peak_memory: peak resident memory of the process on a CPU, "
            "peak allocation on the device elsewhere",
        ),
        MetricInfo("ema_bytes", "bytes", "ratio", False, _cost("ema_bytes"), shown=_MIB),
        MetricInfo(
            "flops", "FLOP/step", "ratio", False, _cost("flops_per_step"), (1e9, "GFLOP/step")
        ),
        MetricInfo("energy", "J", "ratio", False, _cost("energy_j")),
    ]
)
