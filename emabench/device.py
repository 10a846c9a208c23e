"""The only place that knows devices: choice, precision, synchronisation, memory, environment.

Everything goes through torch's device-agnostic calls. They have been run on CPUs and on one NVIDIA
H100; other accelerators are untested.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from emabench.errors import UnknownNameError, UsageError
from emabench.records import Environment
from emabench.spec import PretrainSpec
from emabench.version import __version__


@dataclass(frozen=True)
class Device:
    """A device and the precision to compute in, bound once for a whole run.

    Attributes:
        torch: the device that tensors live on.
        precision: ``fp32`` or ``bf16`` (autocast).
        captures_steps: whether training steps are captured once and replayed, so that the numbers
            that change between them lie on the device. No device does so by itself yet, and none
            of it has been run on a GPU.
    """

    torch: torch.device
    precision: str
    captures_steps: bool = False

    @property
    def kind(self) -> str:
        """The kind of device: ``cpu``, ``cuda``, ``mps``."""
        return self.torch.type

    @property
    def label(self) -> str:
        """Hardware, precision and CPU threads: what speeds must share to be comparable."""
        return f"{describe(self.torch)}, {self.precision}, {torch.get_num_threads()} threads"

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the precision of the run; float32 is no autocast at all."""
        if self.precision == "bf16":
            return torch.autocast(self.kind, dtype=torch.bfloat16)
        return nullcontext()

    @property
    def works_ahead(self) -> bool:
        """Whether the program goes on while the device still computes."""
        return self.kind != "cpu"

    def hold(self, value: float) -> Tensor | None:
        """Return a float64 on the device, to be filled before every step; None: use plain numbers.

        A step that is captured reads it anew whenever it is replayed; a plain one would stay.
        """
        if not self.captures_steps:
            return None
        return torch.tensor(value, dtype=torch.float64, device=self.torch)

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""
        if self.works_ahead:
            torch.get_device_module(self.torch).synchronize(self.torch)

    def reset_peak_memory(self) -> None:
        """Start a new measurement of the peak of device memory."""
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats(self.torch)

    def peak_memory(self) -> tuple[int | None, int | None]:
        """Return the peak bytes allocated and reserved on the device; None where unknown."""
        if self.kind != "cuda":
            return None, None
        return torch.cuda.max_memory_allocated(self.torch), torch.cuda.max_memory_reserved(
            self.torch
        )


class Upload:
    """Copies batches to a device; on CUDA on a stream of their own, beside what is computed.

    A batch is sent from any thread and taken by the one that computes with it.

    Args:
        device: where the batches are needed; the CPU needs no copy.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.Stream(device) if device.type == "cuda" else None

    def send(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Event | None]:
        """Begin to copy a batch from the CPU."""
        if self._stream is None:
            return batch.to(self._device, non_blocking=True), None
        with self._stream:
            # A copy from memory that is not pinned would wait for the device.
            sent = batch.pin_memory().to(self._device, non_blocking=True)
            return sent, self._stream.record_event()

    def take(self, sent: torch.Tensor, arrival: torch.Event | None) -> torch.Tensor:
        """Return a batch that was sent; what is computed from now on waits for its arrival."""
        if arrival is not None:
            computing = torch.accelerator.current_stream(self._device)
            computing.wait_event(arrival)
            # Its memory must not serve another batch before the work on this one is done.
            sent.record_stream(computing)
        return sent


def available() -> list[str]:
    """Return the names of the devices that can be used, best first."""
    names = ["cpu"]
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        count = torch.accelerator.device_count()
        if kind is not None:
            names = [f"{kind.type}:{index}" for index in range(count)] + names
    return names


def choose(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the accelerator where there is one, else the CPU.

    Raises:
        UnknownNameError: the name is no device.
        UsageError: the machine has no such device.
    """
    names = available()
    if name == "auto":
        return torch.device(names[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnknownNameError("device", name, ["auto", "cpu", "cuda", "mps", *names]) from None
    if str(device) not in names and device.type not in {
        n.partition(":")[0] for n in names if device.index is None
    }:
        raise UsageError(
            f"this machine has no device {name!r}", hint=f"choose one of: auto, {', '.join(names)}"
        )
    if device.type != "cpu" and device.index is None:
        return torch.device(device.type, 0)
    return device


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, so that autocast gains anything."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def choose_precision(device: torch.device, asked: str = "auto") -> str:
    """Return ``fp32`` or ``bf16``: what was asked for, or what is native."""
    if asked != "auto":
        return asked
    return "bf16" if has_native_bf16(device) else "fp32"


def bind_device(spec: PretrainSpec) -> Device:
    """Return the device and the precision that a spec asks for."""
    chosen = choose(spec.device)
    return Device(chosen, choose_precision(chosen, spec.precision))


def describe(device: torch.device) -> str:
    """Return the name of the hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads inside the block; the process keeps memory that it frees."""
    _keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed for what is asked next.

    By itself it hands large blocks back to the system and asks for them again, step after step. The
    system fills each page with zeros: 6 % of the CPU time of a step of ResNet-18.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold = -1, -3  # the numbers of these parameters in malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, -1)  # never
    libc.mallopt(mmap_threshold, 2**31 - 1)


def check_compiler(device: Device) -> None:
    """Raise UsageError if torch.compile cannot compile for the device.

    For a CPU it needs a C++ compiler, which ``CXX`` names or the path has.
    """
    compilers = (os.environ.get("CXX"), "g++", "clang++", "cl")
    if device.kind == "cpu" and not any(shutil.which(name) for name in compilers if name):
        raise UsageError(
            "compile=true needs a C++ compiler on a CPU, and none was found",
            hint="install g++, or leave compile at false",
        )


def environment(
    device: Device, thread_count: int, *, compiled: bool = False, count: int = 1
) -> Environment:
    """Describe where this process runs."""
    commit, dirty = _commit()
    versions = {name: metadata.version(name) for name in ("torch", "torchvision", "timm", "numpy")}
    versions |= {"emabench": __version__, "python": platform.python_version()}
    if torch.version.cuda is not None and device.kind == "cuda":
        versions["cuda"] = torch.version.cuda
    return Environment(
        device=describe(device.torch),
        device_kind=device.kind,
        device_count=count,
        host=socket.gethostname(),
        threads=thread_count,
        precision=device.precision,
        compiled=compiled,
        versions=versions,
        platform=platform.platform(),
        commit=commit,
        dirty=dirty,
    )


def host_peak_rss() -> int | None:
    """Return the largest resident memory that this process ever had, in bytes."""
    if sys.platform == "linux":  # where ru_maxrss may be that of the parent before exec
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that the code runs from, and whether it was changed."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None, None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", os.fspath(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return result.stdout.strip()
