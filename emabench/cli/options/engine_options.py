"""The options of ``work`` that choose an engine, and what they open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.artifacts.layout import artifacts_folder
from emabench.errors import UsageError

if TYPE_CHECKING:
    from emabench.queue.submission import Engine
    from emabench.queue.supervisor import Slot
    from emabench.store import RunStore

DEFAULT_JOBS = 16
DEFAULT_MINUTES = 240


class EngineName(StrEnum):
    """Who works on the jobs."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="Who works on the jobs: this machine, or a cluster.")
]
JobsPerDeviceOption = Annotated[
    int, typer.Option("--jobs-per-device", min=1, metavar="N", help="Jobs at a time on each.")
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        metavar="N",
        help=f"Jobs on a cluster at a time, per kind of device; {DEFAULT_JOBS} by default.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="HOST:PORT", help="Address of the Ray cluster; see 'ray status'."
    ),
]
PartitionOption = Annotated[
    str | None, typer.Option("--partition", metavar="NAME", help="Partition of the Slurm cluster.")
]
TimeLimitOption = Annotated[
    int | None,
    typer.Option(
        "--time-limit",
        min=1,
        metavar="MINUTES",
        help="Time limit of a Slurm job, whose work goes on in the next one; "
        f"{DEFAULT_MINUTES} by default.",
    ),
]
SbatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sbatch", metavar="NAME=VALUE", help="Further option for sbatch; may be repeated."
    ),
]
SharedArtifactsOption = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        envvar="EMABENCH_ARTIFACTS",
        metavar="DIR|URL",
        help="Folder for weights, checkpoints and logs; for a cluster, one that all its "
        "machines share, or an fsspec URL.",
    ),
]


@dataclass(frozen=True)
class EngineChoice:
    """What the options say, each as it was given."""

    name: EngineName
    device: str
    jobs_per_device: int
    jobs: int | None
    address: str | None
    partition: str | None
    time_limit: int | None
    sbatch: Sequence[str]

    def check(self, place: str | None) -> list[Slot]:
        """Refuse what does not go together, before anything is opened.

        Args:
            place: of the artifacts.

        Returns:
            The slots of this machine; none for a cluster.

        Raises:
            UsageError: an option belongs to another engine, or this machine has no such device.
        """
        cluster = (EngineName.RAY, EngineName.SLURM)
        belongs = {
            "--jobs-per-device": (self.jobs_per_device != 1, (EngineName.LOCAL,)),
            "--jobs": (self.jobs is not None, cluster),
            "--address": (self.address is not None, (EngineName.RAY,)),
            "--partition": (self.partition is not None, (EngineName.SLURM,)),
            "--time-limit": (self.time_limit is not None, (EngineName.SLURM,)),
            "--sbatch": (bool(self.sbatch), (EngineName.SLURM,)),
        }
        for option, (is_given, engines) in belongs.items():
            if is_given and self.name not in engines:
                raise UsageError(
                    f"{option} does not apply to the engine {self.name}",
                    hint=f"it works with --engine {' or '.join(engines)}",
                )
        if self.name is not EngineName.LOCAL:
            return []
        if place is not None and "://" in place:
            raise UsageError(
                "on this machine artifacts go to a folder, not to a URL",
                hint="--artifacts takes a folder",
            )
        from emabench.engines.local import slots_for

        return slots_for(self.device, self.jobs_per_device)


def local_artifacts(db: str, place: str | None) -> Path:
    """Return the folder of this machine for artefacts; beside the store where they pass by URL."""
    return artifacts_folder(db, None if place is None or "://" in place else Path(place))


@contextmanager
def opened_engine(
    choice: EngineChoice, store: RunStore, *, db: str, place: str | None
) -> Iterator[tuple[Engine, list[Slot]]]:
    """Open an engine, and say which jobs it is to be given.

    Args:
        choice: what the user asked for; it was checked.
        store: open for writing.
        db: path or URL of the same store.
        place: of the artifacts: a folder or a URL; None is the one beside the store.

    Raises:
        UsageError: devices are named that a cluster is not asked for.
        EngineError: its extra is not installed, or it is not reached.
    """
    folder = local_artifacts(db, place)
    if choice.name is EngineName.LOCAL:
        from emabench.queue.process import Processes, prepare

        prepare()
        yield Processes(), choice.check(place)
        return
    from emabench.engines.exchange import Exchange

    exchange = Exchange(place if place is not None and "://" in place else str(folder.resolve()))
    if choice.name is EngineName.RAY:
        from emabench.engines.ray import RayEngine

        with RayEngine(store, exchange, choice.address) as ray:
            yield ray, _slots(choice, ray.kinds())
        return
    from emabench.engines.slurm import SlurmEngine

    options: dict[str, str | bool] = {}
    for option in choice.sbatch:
        name, equals, value = option.removeprefix("--").partition("=")
        options[name] = value if equals else True
    yield (
        SlurmEngine(
            store,
            exchange,
            folder / "slurm",
            minutes=choice.time_limit or DEFAULT_MINUTES,
            partition=choice.partition,
            options=options,
        ),
        _slots(choice, ["cuda", "cpu"]),
    )


def _slots(choice: EngineChoice, kinds: Sequence[str]) -> list[Slot]:
    """Return the slots of a cluster, which chooses the very device itself.

    Raises:
        UsageError: a device is named by its number, or twice.
    """
    from emabench.queue.supervisor import Slot

    asked = [name.strip() for name in choice.device.split(",")]
    if asked == ["auto"]:
        asked = list(kinds)
    if any(":" in name or not name for name in asked) or len(set(asked)) < len(asked):
        raise UsageError(
            f"--device {choice.device}: on a cluster, name kinds of devices",
            hint="for example --device cuda or --device cuda,cpu",
        )
    return [Slot(kind, kind) for kind in asked for _ in range(choice.jobs or DEFAULT_JOBS)]
