"""emabench: what does a momentum encoder cost, and what does it buy?

The names below are public. They are loaded when they are first used, so that ``import emabench``
itself loads nothing beyond the standard library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emabench.version import __version__

if TYPE_CHECKING:
    from emabench import errors as errors
    from emabench import events as events
    from emabench import plugin as plugin
    from emabench import testing as testing
    from emabench.ema.target import TargetNetwork as TargetNetwork
    from emabench.library import Comparison as Comparison
    from emabench.library import Run as Run
    from emabench.library import Runs as Runs
    from emabench.library import Store as Store
    from emabench.library import open_store as open_store
    from emabench.library import run as run
    from emabench.networks.cut import cut as cut
    from emabench.networks.encoder import Encoder as Encoder
    from emabench.spec.scope import EmaScope as EmaScope
else:

    def __getattr__(name: str) -> Any:
        """Load a public name from where it lives."""
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_HOMES[name])
        value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
        globals()[name] = value
        return value


_HOMES = {
    "Comparison": "emabench.library",
    "EmaScope": "emabench.spec.scope",
    "Encoder": "emabench.networks.encoder",
    "Run": "emabench.library",
    "Runs": "emabench.library",
    "Store": "emabench.library",
    "TargetNetwork": "emabench.ema.target",
    "cut": "emabench.networks.cut",
    "errors": "emabench.errors",
    "events": "emabench.events",
    "open_store": "emabench.library",
    "plugin": "emabench.plugin",
    "run": "emabench.library",
    "testing": "emabench.testing",
}
"""Where each public name lives, or which module it is; a type checker reads it above."""

__all__ = [
    "Comparison",
    "EmaScope",
    "Encoder",
    "Run",
    "Runs",
    "Store",
    "TargetNetwork",
    "__version__",
    "cut",
    "errors",
    "events",
    "open_store",
    "plugin",
    "run",
    "testing",
]


def __dir__() -> list[str]:
    return sorted(__all__)
