"""The databases a store may lie in: SQLite always, a PostgreSQL server with ``-m external``."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emabench.store import RunStore

if TYPE_CHECKING:
    from postgres import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server; the test fails where there is none."""
    from postgres import running

    with running() as found:
        yield found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.external)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Gives the URL of another empty database each time it is called."""
    if request.param == "sqlite":
        numbers = itertools.count()
        yield lambda: f"sqlite:///{tmp_path}/results-{next(numbers)}.db"
        return
    server: Server = request.getfixturevalue("server")
    with contextlib.ExitStack() as databases:
        yield lambda: databases.enter_context(server.database())


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_url()


@pytest.fixture
def store(url: str) -> Iterator[RunStore]:
    """A store that is open for writing."""
    with RunStore.open(url, mode="write") as opened:
        yield opened
