"""The analytic cost of EMA scopes as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis.pace import Pace
from emabench.table import UNKNOWN, Table, duration, scaled, significant

OWN_PASS = (
    "the target has a pass of its own in every scope, so with this method EMA costs memory and its "
    "update, and averaging the projector alone saves nothing"
)
"""Why no scope costs operations: to be said of some scopes and ``none``."""
_SAME = 1.001


@dataclass(frozen=True)
class CostRow:
    """One EMA scope.

    Attributes:
        ema_scope: the scope.
        flops_per_step: one multiply-add = 2; None is unknown.
        flops: of the whole run.
        ratio_to_none: of the operations; None is unknown.
        ratio_to_full: likewise.
        copied_parameters: parameters of the EMA copies.
        ema_bytes: held by the copies.
        ema_bytes_moved: read and written by the update of one step.
        train_s: predicted seconds of training; None is unknown.
        measured: runs and benches that the prediction rests on; 0: scaled by the operations from
            another scope; None: there is no prediction.
        price: of these seconds, in the currency of the user.
    """

    ema_scope: str
    flops_per_step: int | None
    flops: int | None
    ratio_to_none: float | None
    ratio_to_full: float | None
    copied_parameters: int
    ema_bytes: int
    ema_bytes_moved: int
    train_s: float | None = None
    measured: int | None = None
    price: float | None = None


def with_prediction(
    row: CostRow, images: int, pace: Pace | None, price_per_hour: float | None
) -> CostRow:
    """Return the row with what the pace says of the seconds, and the price of the seconds."""
    if pace is None:
        return row
    seconds = images / pace.images_per_second
    price = None if price_per_hour is None else seconds / 3600 * price_per_hour
    values = asdict(row) | {"train_s": seconds, "measured": pace.measured, "price": price}
    return CostRow(**values)


def cost_table(rows: Sequence[CostRow]) -> Table:
    """Return the rows for a terminal; the columns of a prediction only where there is one."""
    columns: dict[str, list[str]] = {
        "ema scope": [row.ema_scope for row in rows],
        "GFLOP/step": [scaled(row.flops_per_step, 1e9) for row in rows],
        "PFLOP/run": [scaled(row.flops, 1e15) for row in rows],
        "÷ none": [significant(row.ratio_to_none) for row in rows],
        "÷ full": [significant(row.ratio_to_full) for row in rows],
        "copied M": [scaled(row.copied_parameters, 1e6) for row in rows],
        "EMA MiB": [scaled(row.ema_bytes, 2**20) for row in rows],
    }
    if any(row.train_s is not None for row in rows):
        columns["training"] = [duration(row.train_s) for row in rows]
        columns["judged by"] = [_source(row.measured) for row in rows]
    if any(row.price is not None for row in rows):
        columns["price"] = [significant(row.price, 3) for row in rows]
    left = ("ema scope", "judged by")
    headers = tuple(columns)
    cells = tuple(zip(*columns.values(), strict=True))
    numbers = frozenset(headers) - frozenset(left)
    return Table(headers, cells, numbers, spare=("PFLOP/run", "copied M"))


def cost_values(rows: Sequence[CostRow]) -> list[dict[str, Any]]:
    """Return the rows as plain values for JSON; unknown is null."""
    return [asdict(row) for row in rows]


def cost_notes(flops: Mapping[str, int | None]) -> list[str]:
    """Return what a reader should know of the scopes, by their operations of a step."""
    none = flops.get("none")
    for scope in ("full", "backbone"):
        most = flops.get(scope)
        if none and most and most / none < _SAME:
            return [f"{scope} costs no more operations than none: {OWN_PASS}"]
    return []


def _source(measured: int | None) -> str:
    if measured is None:
        return UNKNOWN
    return f"{measured} measured" if measured else "operations"
