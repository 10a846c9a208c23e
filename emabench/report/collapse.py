"""When a run counts as collapsed: its embeddings no longer spread."""

from __future__ import annotations

from emabench.records import RunRecord

COLLAPSED_BELOW = 0.05
"""Bound of ``embedding_std`` after the last epoch: 1 is an even spread, 0 a single point."""


def is_collapsed(run: RunRecord) -> bool | None:
    """Return whether a run collapsed; None if its embeddings were not watched."""
    spread = run.results.get("embedding_std")
    return None if spread is None else spread < COLLAPSED_BELOW


def state_in_words(run: RunRecord) -> str:
    """Return the state of a run for people: its word, and whether the run collapsed."""
    return f"{run.state.value}, collapsed" if is_collapsed(run) else run.state.value
