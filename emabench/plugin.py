"""What authors of methods, data sets and backbones import.

A method is a subclass of ``Method``, in a file of its name. A data set is a function marked with
``dataset`` that returns ``ImageArrays``. A backbone is a function that returns a model, marked with
timm's own ``register_model``; its model may have a method ``ema_blocks() -> dict[str, nn.Module]``
that returns its blocks, first to last, and is one block without it.

A file is used by ``--plugin FILE.py``; a package declares entry points in the groups
``emabench.methods``, ``emabench.datasets`` and ``emabench.backbones``. ``emabench.testing`` has the
tests that all of them should pass.
"""

from __future__ import annotations

from timm.models import register_model

from emabench.data.sources.arrays import ImageArrays
from emabench.data.sources.plugged import dataset
from emabench.errors import SpecError
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import Prototypes, mlp
from emabench.networks.token_grid import TokenGrid
from emabench.spec.model import SpecModel

__all__ = [
    "ImageArrays",
    "MaskedMethod",
    "Method",
    "Prototypes",
    "SpecError",
    "SpecModel",
    "TargetOptions",
    "TokenGrid",
    "TrainingSet",
    "Views",
    "dataset",
    "mlp",
    "register_model",
]
