"""Where decoded images are kept: a setting of the machine, and no part of an experiment.

The images are the same bytes in every mode, so that the mode changes no result and no fingerprint.
The environment carries it, also into the processes of jobs: ``EMABENCH_CACHE_MODE`` and
``EMABENCH_CACHE_BUDGET``, which ``--cache`` and ``--cache-budget`` set.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from enum import StrEnum
from pathlib import Path

from emabench.errors import UnknownNameError, UsageError

MODE_VARIABLE = "EMABENCH_CACHE_MODE"
BUDGET_VARIABLE = "EMABENCH_CACHE_BUDGET"

_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_READ_AHEAD_BYTES = 2**30


class CacheMode(StrEnum):
    """Where decoded images are kept."""

    AUTO = "auto"
    """On the disk, else in memory, else nowhere: the first that has room for them."""
    DISK = "disk"
    """In a file per split, mapped into memory; later runs find it."""
    RAM = "ram"
    """In the memory of each process that reads them."""
    NONE = "none"
    """Nowhere: image files, those in shards and tables too, are decoded anew for every batch.
    Arrays are held in memory."""


def cache_mode() -> CacheMode:
    """Return the mode that ``EMABENCH_CACHE_MODE`` names; ``auto`` where it is not set.

    Raises:
        UnknownNameError: there is no such mode.
    """
    return parse_mode(os.environ.get(MODE_VARIABLE) or CacheMode.AUTO)


def parse_mode(name: str) -> CacheMode:
    """Return the mode of that name.

    Raises:
        UnknownNameError: there is none.
    """
    try:
        return CacheMode(name)
    except ValueError:
        modes = [mode.value for mode in CacheMode]
        raise UnknownNameError("cache mode", name, modes) from None


def cache_budget() -> int | None:
    """Return how many bytes decoded images may take at most; None where nobody says.

    Raises:
        UsageError: ``EMABENCH_CACHE_BUDGET`` is no number of bytes.
    """
    text = os.environ.get(BUDGET_VARIABLE)
    return parse_bytes(text) if text else None


def parse_bytes(text: str) -> int:
    """Read a number of bytes such as ``512M``, ``1.5 GiB`` or ``20GB``; a K is 1024.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(
            f"{text!r} is not a number of bytes", hint="for example --cache-budget 8GiB"
        )
    return int(float(match[1]) * 2 ** _POWERS[match[2].upper()])


def settle_mode(needed: int, *, folder: Path, is_cached: bool) -> CacheMode:
    """Choose where decoded images are kept, unless the user has.

    On the disk or in memory they may take the budget, or where there is none half of what is free.

    Args:
        needed: bytes of all images of the data set.
        folder: the cache folder; it may not exist yet.
        is_cached: whether they lie there already.

    Returns:
        Any mode but ``auto``. A warning tells of images that are not kept on the disk.
    """
    import psutil  # the command line reads the rest of this file, and shall start at once

    mode, budget = cache_mode(), cache_budget()
    if mode is not CacheMode.AUTO:
        return mode
    free = _free_disk(folder)
    disk = 0 if free is None else _room(free, budget)
    # What lies on the disk already takes no more of it.
    if needed <= disk or (is_cached and (budget is None or needed <= budget)):
        return CacheMode.DISK
    lacking = "cannot be written" if free is None else f"has no room for {_shown(needed)}"
    memory = _room(psutil.virtual_memory().available, budget)
    if needed <= memory:
        mode, effect = CacheMode.RAM, "decoded into memory, and will be again next time"
    else:
        mode, effect = CacheMode.NONE, "decoded again for every batch"
        lacking += f", and {_shown(memory)} of memory is too little"
    text = f"the image cache {folder} {lacking}: the images are {effect}"
    warnings.warn(text, RuntimeWarning, stacklevel=2)
    return mode


def read_ahead_bytes() -> int:
    """Return how many bytes the decoding ahead of images that are kept nowhere may take."""
    budget = cache_budget()
    return _READ_AHEAD_BYTES if budget is None else budget


def _room(free: int, budget: int | None) -> int:
    return free // 2 if budget is None else min(budget, free)


def _free_disk(folder: Path) -> int | None:
    """Return the free bytes where the folder is or would be; None where nothing can be written."""
    try:
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not (place.is_dir() and os.access(place, os.W_OK)):
            return None
        return shutil.disk_usage(place).free
    except OSError:  # it cannot even be looked at
        return None


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
