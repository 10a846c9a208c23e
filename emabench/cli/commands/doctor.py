"""``emabench doctor``: is this machine ready?"""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

PANEL = "Look things up"

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "sqlalchemy", "pydantic")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    hint: str | None = None


def command(json: JsonOption = False, db: DbOption = DEFAULT_DB) -> None:
    """Check versions, devices, precision, threads, the cache folder and the store.

    Exits 1 if a check fails; a warning does not count.

    Examples:
        emabench doctor
        emabench doctor --db shared.db --json
    """
    from emabench.cli.app.console import print_json

    checks = [_versions(), *_devices(), _threads(), _cache(), _store(db)]
    failed = any(check.state == "fail" for check in checks)
    if json:
        print_json(
            {"schema_version": 1, "ok": not failed, "checks": [asdict(check) for check in checks]}
        )
    else:
        for check in checks:
            typer.echo(f"{check.state:5} {check.name:10} {check.found}")
            if check.hint:
                typer.echo(f"{'':16} hint: {check.hint}")
    if failed:
        raise typer.Exit(1)


def _versions() -> Check:
    found, missing = [f"python {platform.python_version()}"], []
    for name in ("emabench", *_PACKAGES):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing == ["emabench"]:
        return Check(
            "versions", "warn", ", ".join(found), "emabench is not installed: pip install -e ."
        )
    if missing:
        return Check(
            "versions", "fail", f"missing: {', '.join(missing)}", "install emabench with pip"
        )
    return Check("versions", "ok", ", ".join(found))


def _devices() -> list[Check]:
    from emabench import device

    names = device.available()
    described = ", ".join(f"{name} ({device.describe(device.choose(name))})" for name in names)
    chosen = device.choose("auto")
    precision = device.choose_precision(chosen, "auto")
    hint = None if len(names) > 1 else "no accelerator found: runs use the CPU"
    reason = "native bfloat16" if precision == "bf16" else "no native bfloat16"
    return [
        Check("devices", "ok" if hint is None else "warn", described, hint),
        Check("precision", "ok", f"{precision} on {chosen}: {reason}"),
    ]


def _threads() -> Check:
    import torch

    count, cores = torch.get_num_threads(), os.cpu_count() or 1
    hint = None
    if count > cores:
        hint = f"more threads than cores: set OMP_NUM_THREADS to {cores} or less"
    return Check("threads", "warn" if hint else "ok", f"{count} of {cores} cores", hint)


def _cache() -> Check:
    from emabench.data.cache.image_cache import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = "every run decodes its images again; set EMABENCH_CACHE to another folder"
        return Check("cache", "warn", f"{folder}: {error.strerror}", hint)
    return Check("cache", "ok", str(folder))


def _store(db: str) -> Check:
    from emabench.errors import EmabenchError, NotFoundError
    from emabench.records import RunQuery
    from emabench.store import RunStore
    from emabench.store.connection.location import Location
    from emabench.table import counted

    try:
        shown = Location.parse(db).label  # without a password
    except EmabenchError as error:
        return Check("store", "fail", error.message, error.hint)
    try:
        with RunStore.open(db, mode="read") as store:
            count = len(store.runs(RunQuery(smoke=True)))
    except NotFoundError:
        return Check("store", "ok", f"none at {shown} yet: 'emabench run' creates it")
    except EmabenchError as error:
        return Check("store", "fail", error.message, error.hint)
    return Check("store", "ok", f"{shown}: {counted(count, 'run')}")
