"""Named, independent random streams derived from the one seed of a run.

Every consumer of randomness asks for its own stream by name and index (an epoch, a step), so
that drawing more in one place never shifts another, and a resumed run needs no stored state.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Stream = Literal[
    "init",
    "order",
    "augment",
    "dropout",
    "probe",
    "monitor",
    "subset",
    "split",
    "holdout",
    "average",
    "few_shot",
    "loss",
]


def derive(seed: int, stream: Stream, *index: int) -> int:
    """Return a 63-bit seed for one stream of a run.

    Args:
        seed: the seed of the run.
        stream: who draws.
        index: where in the run, for example the epoch or the global step.
    """
    text = "/".join([str(seed), stream, *map(str, index)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
