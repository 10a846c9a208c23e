"""The canonical identity of a resolved spec."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(value: Any) -> str:
    """Return 32 hex digits that identify nested plain values.

    The order of keys does not matter; every value does, so that callers pass the complete
    resolved spec, defaults included.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
