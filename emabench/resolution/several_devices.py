"""Whether a pretraining on several devices is the same as on one."""

from __future__ import annotations

from torch import nn

from emabench import device as devices
from emabench.device import Device
from emabench.errors import SpecError
from emabench.spec import PretrainSpec
from emabench.training.learner import has_batch_statistics


def check_devices(spec: PretrainSpec, device: Device, *networks: nn.Module) -> None:
    """Check that a run on several devices is the same run as on one.

    Raises:
        SpecError: it would not be, or there are not that many.
    """
    count = spec.devices
    if spec.batch_size % count:
        raise SpecError(
            f"devices={count} cannot share a batch of {spec.batch_size} images evenly",
            hint=f"set --batch-size to a multiple of {count}",
        )
    if device.kind == "cpu" and has_batch_statistics(*networks):
        raise SpecError(
            f"devices={count} on a CPU: method {spec.method.name} with backbone "
            f"{spec.backbone.name} has BatchNorm, which torch synchronises on accelerators only",
            hint="leave --devices at 1, or take a backbone and a method without it, such as a ViT",
        )
    names = [name for name in devices.available() if name.startswith(f"{device.kind}:")]
    if device.kind != "cpu" and (device.torch.index or 0) + count > len(names):
        raise SpecError(
            f"devices={count} from {device.torch} on, but this machine has {len(names)}",
            hint="lower --devices, or choose another first one with --device",
        )
