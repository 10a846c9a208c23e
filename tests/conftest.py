"""What all tests share: one thread, a cache of their own, no settings of the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Before torch is imported: threads of several test processes would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

# No time counts: a busy machine is no bug.
hypothesis.settings.register_profile(
    "emabench",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("emabench")


@dataclass(frozen=True)
class CommandResult:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def hint(self) -> str:
        """The hint of the error; empty without one."""
        hints = [
            line for line in self.err.splitlines() if line.startswith("hint: ") and len(line) > 6
        ]
        return hints[0] if len(hints) == 1 else ""


CommandLine = Callable[[Sequence[str]], CommandResult]


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those about them: only a CPU gives the same bits twice."""
    if config.option.markexpr != "accelerator":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_finish() -> None:
    """Make empty stores soon, where the tests that were found use any in this process."""
    if "emabench.store" in sys.modules:
        from new_stores import repeating

        from emabench.store.connection import opening

        opening.migrate = repeating(opening.migrate)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in [name for name in os.environ if name.startswith("EMABENCH_")]:
        if not name.startswith("EMABENCH_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMABENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    # A program started in another folder shall find this checkout, installed or not.
    places = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in this process do not count their operations, which takes as long as ten steps."""
    monkeypatch.setattr("emabench.training.trainer.step_flops", lambda *_: None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def emabench(folder: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Runs a command line in this process, in an empty folder."""
    from emabench.cli.app.main import run

    def call(arguments: Sequence[str]) -> CommandResult:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call
