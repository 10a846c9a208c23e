"""What torch wraps around a module: taken off, or refused."""

from __future__ import annotations

from torch import nn

from emabench.errors import UsageError

_SHARDED = ("FullyShardedDataParallel", "FSDPModule")


def unwrapped(module: nn.Module) -> nn.Module:
    """Return what DataParallel, DistributedDataParallel and ``torch.compile`` are wrapped around.

    Raises:
        UsageError: the module, or a part of it, is sharded (FSDP).
    """
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            break
    for part in module.modules():
        if any(kind.__name__ in _SHARDED for kind in type(part).__mro__):
            raise UsageError(
                "parameters that FSDP has sharded cannot be averaged block by block",
                hint="use DistributedDataParallel, whose processes hold whole parameters",
            )
    return module
