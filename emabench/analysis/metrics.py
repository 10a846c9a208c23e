"""The metrics that a comparison knows: unit, direction, where a run keeps them; who collapsed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from emabench.errors import UnknownNameError, UsageError, did_you_mean
from emabench.records import CostReading, RunRecord

Kind = Literal["difference", "ratio"]
Role = Literal["accuracy", "cost", "monitor"]
Over = Literal["seeds", "steps"]
"""What pairs are: runs of one seed, or steps of one bench."""

COLLAPSED_BELOW = 0.05
"""Bound of ``embedding_std`` after the last epoch: 1 is an even spread, 0 a single point."""
BLOCK_METRIC = "grad_cv"
"""``grad_cv:<block>`` is how much the gradient at a block's output fluctuates."""
_SHOTS = re.compile(r"few_shot_[1-9]\d*")
_OF_ANY_IMAGES = ("top1", "top5", "knn_top1", "knn_top5")
"""Accuracies that an evaluation also gives for further images: ``top1@cifar100``."""
_BLOCK_SERIES = "grad_norm_cv"
_MIB = (float(2**20), "MiB")


@dataclass(frozen=True)
class MetricInfo:
    """One metric.

    Attributes:
        name: as ``--metric`` takes it.
        unit: of the stored values.
        kind: how two arms are compared: costs by their ratio, all else by the difference.
        higher_is_better: the direction.
        read: gets the value of a run from its record; None is unknown.
        shown: divides the value for display, and the unit that this gives.
        note: what the reader of a comparison should know.
        role: accuracies and costs decide on "cheaper and not worse"; monitors only tell.
        series: name of the points whose mean over the epochs is the value where the record has
            none.
        over: what pairs are: the ``seeds`` of runs, or the ``steps`` of a bench in which the arms
            took turns.
    """

    name: str
    unit: str
    kind: Kind
    higher_is_better: bool
    read: Callable[[RunRecord], float | None]
    shown: tuple[float, str] | None = None
    note: str | None = None
    role: Role = "monitor"
    series: str | None = None
    over: Over = "seeds"

    @property
    def is_disturbed(self) -> bool:
        """Whether other work on the device changes it: a cost of the runs themselves."""
        return self.role == "cost" and self.over == "seeds"

    @property
    def shown_unit(self) -> str:
        """The unit in which values are displayed."""
        return self.unit if self.shown is None else self.shown[1]


def metric_names() -> list[str]:
    """Return the names of the known metrics, the accuracies first."""
    return list(_METRICS)


def parse_metrics(text: str) -> list[MetricInfo]:
    """Read a comma list such as ``top1,throughput,grad_cv:layer4,max:feature_rank``.

    A figure that is not known here goes with its direction, ``min:`` or ``max:``.

    Raises:
        UsageError: the list or one of its parts is empty, a known metric is turned round, or the
            first is no figure of runs.
        UnknownNameError: there is no such metric; near ones are proposed.
    """
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UsageError(
            f"--metric {text!r} has an empty part",
            hint="for example --metric top1,throughput",
        )
    found = {metric.name: metric for metric in map(parse_metric, names)}
    metrics = list(found.values())
    _check_of_runs(metrics[0])
    return metrics


def parse_metric(text: str) -> MetricInfo:
    """Read one metric: a known name, ``grad_cv:<block>``, or ``min:NAME`` or ``max:NAME``.

    Raises:
        UsageError: a known metric is turned round, or the name of a block is missing.
        UnknownNameError: there is no such metric.
    """
    direction, colon, rest = text.partition(":")
    if not colon or direction not in ("min", "max"):
        return _known(text)
    higher = direction == "max"
    name = rest.strip()
    if name in _METRICS or name.partition(":")[0] == BLOCK_METRIC:
        metric = _known(name)
        if metric.role != "monitor" and metric.higher_is_better != higher:
            better = "max" if metric.higher_is_better else "min"
            raise UsageError(
                f"--metric {text}: for {name}, {'less' if higher else 'more'} is better",
                hint=f"write {name}, or {better}:{name}",
            )
        return replace(metric, higher_is_better=higher)
    if not name:
        raise UsageError(f"--metric {text!r} names no metric", hint="for example min:loss")
    if name in CostReading().as_dict():
        unit = "s" if name.endswith("_s") else ""
        return replace(_costs(name, unit), higher_is_better=higher)
    return MetricInfo(name, "", "difference", higher, _result(name), series=name)


def parse_metric_of_runs(text: str) -> MetricInfo:
    """Read one metric as ``parse_metric`` does.

    Raises:
        UsageError: also, if it is no figure of runs.
        UnknownNameError: there is no such metric.
    """
    metric = parse_metric(text)
    _check_of_runs(metric)
    return metric


def _check_of_runs(metric: MetricInfo) -> None:
    if metric.over == "steps":
        raise UsageError(
            f"--metric {metric.name}: that is of benches, not of runs",
            hint=f"compare and plot forest take it behind a figure of runs: top1,{metric.name}; "
            "'emabench compare --bench' prints the benches alone",
        )


def number_of(text: str, what: str, metric: MetricInfo) -> float:
    """Read a number of points, or of per cent where a metric is compared by its ratio.

    Args:
        text: for example ``0.5``, ``-0.5`` or ``5%``.
        what: the whole option, for the error.
        metric: decides on the form.

    Returns:
        The points, or the fraction.

    Raises:
        UsageError: it is no finite number, or in the wrong form.
    """
    is_share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{what}: {text!r} is not a number", hint="for example top1=0.5")
    if is_share and metric.kind == "difference":
        raise UsageError(
            f"{what}: {metric.name} is compared by its difference",
            hint=f"leave out the %: {number:g} is in the unit of {metric.name}",
        )
    if not is_share and metric.kind == "ratio":
        raise UsageError(
            f"{what}: {metric.name} is compared by its ratio", hint=f"write {text}% of the baseline"
        )
    return number / 100 if is_share else number


def _known(name: str) -> MetricInfo:
    stem, colon, block = name.partition(":")
    if stem == BLOCK_METRIC:
        if not (colon and block):
            raise UsageError(
                f"--metric {name}: of which block?",
                hint="for example grad_cv:projector; 'emabench stability' shows all blocks",
            )
        series = f"{_BLOCK_SERIES}:{block}"
        return MetricInfo(name, "", "difference", False, _result(name), series=series)
    figure, at, images = name.partition("@")
    if at and images and (_SHOTS.fullmatch(figure) or figure in _OF_ANY_IMAGES):
        return _accuracy(name)
    if _SHOTS.fullmatch(name):
        return _accuracy(name)
    if name not in _METRICS:
        known = [*_METRICS, "few_shot_<n>", "top1@<data set>", f"{BLOCK_METRIC}:<block>"]
        near = did_you_mean(name, known)
        more = f"{near}; any other figure needs its direction: max:{name}"
        raise UnknownNameError("metric", name, known, hint=more)
    return _METRICS[name]


def _result(name: str) -> Callable[[RunRecord], float | None]:
    return partial(_read_result, name)


def _cost(name: str) -> Callable[[RunRecord], float | None]:
    return partial(_read_cost, name)


# Functions of the module, so that a comparison can be pickled.
def _read_result(name: str, run: RunRecord) -> float | None:
    return run.results.get(name)


def _read_cost(name: str, run: RunRecord) -> float | None:
    cost: float | None = getattr(run.cost, name)
    return cost


def _of_no_run(run: RunRecord) -> None:
    """Read nothing: a bench has the value."""


def _peak_memory(run: RunRecord) -> float | None:
    """Read the memory that the device of the run is short of."""
    if run.environment is None:
        return None
    on_cpu = run.environment.device_kind == "cpu"
    return run.cost.host_peak_rss if on_cpu else run.cost.device_peak_allocated


def _by_name(metrics: Iterable[MetricInfo]) -> dict[str, MetricInfo]:
    return {metric.name: metric for metric in metrics}


def _accuracy(name: str) -> MetricInfo:
    return MetricInfo(name, "%", "difference", True, _result(name), role="accuracy")


def _costs(
    name: str, unit: str, reading: str | None = None, shown: tuple[float, str] | None = None
) -> MetricInfo:
    return MetricInfo(name, unit, "ratio", False, _cost(reading or name), shown, role="cost")


_METRICS = _by_name(
    [
        *map(_accuracy, ("top1", "top5", "knn_top1", "knn_top5", "online_top1")),
        replace(_costs("throughput", "images/s"), higher_is_better=True),
        _costs("step_ms", "ms"),
        MetricInfo(
            "bench_step_ms",
            "ms",
            "ratio",
            False,
            _of_no_run,
            note="bench_step_ms: a step in 'emabench bench' with the same settings; its intervals "
            "are over steps that took turns, not over seeds; of two benches only ratios compare",
            role="cost",
            over="steps",
        ),
        _costs("train_s", "s"),
        _costs("total_s", "s"),
        MetricInfo(
            "peak_memory",
            "bytes",
            "ratio",
            False,
            _peak_memory,
            shown=_MIB,
            note="peak_memory: peak resident memory of the process on a CPU, "
            "peak allocation on the device elsewhere",
            role="cost",
        ),
        _costs("ema_bytes", "bytes", shown=_MIB),
        _costs("flops", "FLOP/step", "flops_per_step", (1e9, "GFLOP/step")),
        _costs("energy", "J", "energy_j"),
        MetricInfo("effective_rank", "", "difference", True, _result("effective_rank")),
    ]
)


def is_collapsed(run: RunRecord) -> bool | None:
    """Return whether a run collapsed; None if its embeddings were not watched."""
    spread = run.results.get("embedding_std")
    return None if spread is None else spread < COLLAPSED_BELOW


def state_in_words(run: RunRecord) -> str:
    """Return the state of a run for people: its word, and whether it collapsed or is unreadable."""
    words = [run.state.value]
    words += ["collapsed"] if is_collapsed(run) else []
    words += [] if run.unreadable is None else ["unreadable"]
    return ", ".join(words)
