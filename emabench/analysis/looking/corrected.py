"""Verdicts corrected for the number of questions that are asked together.

A verdict claims that the truth lies beyond an end of its interval. So m questions have 2m ends, and
Holm's step-down (Scandinavian Journal of Statistics 6, 1979) shares the risk among those that can
still be wrong: an end that has passed 0 claims all that it can, and is done. The chance that any
corrected verdict of a family is false is at most 5 %, whatever the questions have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emabench.analysis.looking.looks import RISK

Bounds = tuple[float, float]


def shared_risk(intervals: Sequence[Callable[[float], Bounds | None]]) -> float:
    """Return the risk of each interval with which a family of them risks 5 % together.

    Args:
        intervals: for each question, its interval at a risk, with 0 as no difference; None where it
            has none.
    """
    ends = 2 * len(intervals)
    left = ends
    while left:
        risk = 2 * RISK / left
        bounds = [interval(min(risk, RISK)) for interval in intervals]
        done = sum((each[0] > 0) + (each[1] < 0) for each in bounds if each is not None)
        if ends - done == left:
            break
        left = ends - done
    return min(2 * RISK / max(left, 1), RISK)
