"""Energy, where the device counts it: NVML's counter of NVIDIA GPUs.

It counts what the whole board takes, whoever works on it.
"""

from __future__ import annotations

from typing import Any

import torch

from emabench.device import Device


class EnergyCounter:
    """Counts the energy of a device from its creation on.

    Args:
        device: any device; one without a counter gives None.
    """

    def __init__(self, device: Device) -> None:
        self._handle: Any = None
        self._nvml: Any = None
        if device.kind == "cuda":
            self._open(device)
        self._start = self._millijoules()

    def joules(self) -> float | None:
        """Return the energy since the creation in joules; None is unknown."""
        now = self._millijoules()
        return None if now is None or self._start is None else (now - self._start) / 1000

    def _open(self, device: Device) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            # Not by index: CUDA_VISIBLE_DEVICES renumbers the devices of torch, not those of NVML.
            uuid = f"GPU-{torch.cuda.get_device_properties(device.torch).uuid}"
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            self._nvml = pynvml
        except Exception:  # the extra `gpu` is missing, or the driver has no such device
            self._handle = None

    def _millijoules(self) -> int | None:
        if self._handle is None:
            return None
        try:
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except self._nvml.NVMLError:  # devices before Volta have no counter
            return None
