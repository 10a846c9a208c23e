"""Small networks with names of their own: timm models made small by options."""

from __future__ import annotations

from typing import Any

SMALL_NETWORKS: dict[str, dict[str, Any]] = {
    "small-resnet": {
        "name": "resnet18",
        "stem": "original",
        "options": {
            "layers": [1, 1, 1, 1],
            "channels": [16, 48, 128, 256],
            "stem_type": "deep",
            "stem_width": 8,
            "zero_init_last": False,
        },
    },
    "tiny-resnet": {
        "name": "resnet18",
        "stem": "3x3-stride2",
        "options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]},
    },
}
"""By name, what a resolved spec says instead: those of the presets ``quick`` and ``smoke``."""
