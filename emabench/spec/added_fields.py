"""Fields that the language of specs got later, with what a spec from before them means.

Runs with and without the field are then in one arm, and ``--where`` finds both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADDED_LATER: Mapping[str, Any] = {
    "profile": False,
    "pretrain.compile": False,
    "pretrain.devices": 1,
    "pretrain.ema.every": 1,
    "pretrain.optimizer.predictor_lr": 1.0,
}
"""By complete path."""
