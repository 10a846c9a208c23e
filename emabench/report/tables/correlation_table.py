"""The table of rank correlations."""

from __future__ import annotations

from emabench.analysis.curves.correlations import Correlations, RankCorrelation
from emabench.table import UNKNOWN, Table


def correlation_table(found: Correlations, *, exact: bool = False) -> Table:
    """Return one line per method and EMA scope.

    Args:
        found: the correlations.
        exact: for programs: a number per column, in full precision.
    """
    groups = ("method", "ema_scope", "target_gradient", "arms")
    if exact:
        plain = [
            (each.method, each.scope, each.target_gradient, r.n, r.rho, r.low, r.high)
            for each, r in ((each, each.ranks) for each in found.groups)
        ]
        return Table((*groups, "rho", "low", "high"), tuple(plain))
    rows = [
        (
            each.method,
            each.scope,
            each.target_gradient,
            each.ranks.n,
            UNKNOWN if each.ranks.rho is None else f"{each.ranks.rho:.2f}",
            _interval(each.ranks),
        )
        for each in found.groups
    ]
    headers = (*groups, "rank correlation", "95 %")
    return Table(headers, tuple(rows), right=frozenset({"arms", "rank correlation"}))


def _interval(ranks: RankCorrelation) -> str:
    if ranks.low is None or ranks.high is None:
        return UNKNOWN
    return f"{ranks.low:.2f} … {ranks.high:.2f}"
