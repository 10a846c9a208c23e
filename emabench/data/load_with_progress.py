"""Loading a data set while somebody listens."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from emabench.data.images import Dataset, load_dataset
from emabench.events import Listener, Notice, PhaseProgress
from emabench.spec.data import DataSpec

Loaded = tuple[Dataset, list[str]]

_LOADED: ContextVar[dict[str, Loaded] | None] = ContextVar("loaded", default=None)
"""By spec, the data sets of the block that ``loading_once`` opens, and what was said of them."""


@contextmanager
def loading_once() -> Iterator[None]:
    """Load a data set once in this block, however many runs ask for it."""
    token = _LOADED.set({})
    try:
        yield
    finally:
        _LOADED.reset(token)


def load_data(spec: DataSpec, on_event: Listener) -> Dataset:
    """Load a data set; its warnings become notices.

    Raises:
        UsageError: the data set does not exist, or a field does not go with it.
        NotFoundError: there is no such folder.
        DataError: the images cannot be read.
    """
    loaded = _LOADED.get()
    key = spec.model_dump_json()
    found = None if loaded is None else loaded.get(key)
    if found is None:
        found = _load(spec, on_event)
        if loaded is not None:
            loaded[key] = found
    dataset, notes = found
    for note in notes:
        on_event(Notice(note))
    return dataset


def _load(spec: DataSpec, on_event: Listener) -> Loaded:
    def progress(done: int, total: int) -> None:
        on_event(PhaseProgress("decoding images", done, total))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(spec, progress=progress)
    return dataset, [str(warning.message) for warning in caught]
