"""emabench: what does a momentum encoder cost, and what does it buy?

The names below are public. They are loaded when they are first used, so that ``import emabench``
itself loads nothing beyond the standard library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emabench.version import __version__

if TYPE_CHECKING:
    from emabench import plugin as plugin
    from emabench import testing as testing
    from emabench.ema.target import TargetNetwork as TargetNetwork
    from emabench.networks.cut import cut as cut
    from emabench.networks.encoder import Encoder as Encoder
    from emabench.spec.scope import EmaScope as EmaScope
else:

    def __getattr__(name: str) -> Any:
        """Load a public name from where it lives."""
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module(_HOMES[name])
        value = home if _HOMES[name] == f"{__name__}.{name}" else getattr(home, name)
        globals()[name] = value
        return value


_HOMES = {
    "EmaScope": "emabench.spec.scope",
    "Encoder": "emabench.networks.encoder",
    "TargetNetwork": "emabench.ema.target",
    "cut": "emabench.networks.cut",
    "plugin": "emabench.plugin",
    "testing": "emabench.testing",
}
"""Where each public name lives, or which module it is; a type checker reads it above."""

__all__ = ["EmaScope", "Encoder", "TargetNetwork", "__version__", "cut", "plugin", "testing"]


def __dir__() -> list[str]:
    return sorted(__all__)
