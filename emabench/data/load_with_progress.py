"""Loading a data set while somebody listens."""

from __future__ import annotations

import warnings

from emabench.data.images import Dataset, load_dataset
from emabench.events import Listener, Notice, PhaseProgress
from emabench.spec.data import DataSpec


def load_data(spec: DataSpec, on_event: Listener) -> Dataset:
    """Load a data set; its warnings become notices.

    Raises:
        UsageError: the data set does not exist, or a field does not go with it.
        NotFoundError: there is no such folder.
        DataError: the images cannot be read.
    """

    def progress(done: int, total: int) -> None:
        on_event(PhaseProgress("decoding images", done, total))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(spec, progress=progress)
    for warning in caught:
        on_event(Notice(str(warning.message)))
    return dataset
