"""Numbers and times as people read them; files get full precision instead."""

from __future__ import annotations

import math

UNKNOWN = "-"
"""Stands for what is not known: never an empty cell, never 0."""


def significant(value: float | None, digits: int = 4) -> str:
    """Write a number with some significant digits and no exponent; whole digits are all kept."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(decimals, 0), 12)}f}"


def fixed(value: float | None, decimals: int = 2) -> str:
    """Write a number with a fixed number of decimals."""
    return UNKNOWN if value is None else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int = 2) -> str:
    """Write a difference with its sign."""
    return UNKNOWN if value is None else f"{value:+.{decimals}f}"


def price_of(seconds: float | None, price_per_hour: float | None) -> float | None:
    """Return what so many seconds cost; None where either is not known."""
    if seconds is None or price_per_hour is None:
        return None
    return seconds / 3600 * price_per_hour


def duration(seconds: float | None) -> str:
    """Write seconds as ``12.3 s``, ``4 min 05 s`` or ``2 h 03 min``."""
    if seconds is None:
        return UNKNOWN
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
