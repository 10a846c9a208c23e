"""A PostgreSQL server for the tests: a private cluster, or the server that a URL names.

A private one lies in a temporary folder, listens on the loopback only and wants a password, as a
real one does. ``EMABENCH_TEST_POSTGRES`` names another server by the URL of a user who may create
databases.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

USER, PASSWORD = "emabench", "not-to-be-seen"
_UNPRIVILEGED = ("postgres", "nobody")
"""Users to run a server as, since PostgreSQL refuses to run as root."""
_FAST = "-c fsync=off -c full_page_writes=off -c max_connections=200"
_TRIES = 5
"""Another program may take a free port before the server does."""


class Server:
    """A server that gives each test a database of its own.

    Args:
        url: of a database of a user who may create others.
    """

    def __init__(self, url: URL) -> None:
        self.url = url

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database, which is dropped afterwards."""
        name = f"emabench_test_{secrets.token_hex(6)}"
        self.execute("CREATE DATABASE {}", name)
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)

    def execute(self, statement: str, *names: str) -> list[Any]:
        """Execute a statement outside of any transaction, with names in place of its braces.

        Returns:
            The first row, if there are any.
        """
        import psycopg  # here, so that the other tests are collected without it
        from psycopg import sql

        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            done = connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
            return list(done.fetchone() or ()) if done.description else []


class PrivateServer(Server):
    """A cluster in a folder of its own, from its creation until ``remove``.

    Raises:
        FileNotFoundError: PostgreSQL's programs are not on this machine.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self._user = _unprivileged_user()
        self._folder = Path(tempfile.mkdtemp(prefix="emabench-postgres-"))
        try:
            self._create()
            super().__init__(self._start_anywhere())
        except BaseException:
            self.remove()
            raise

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        self._call("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """Start again, on the same port."""
        assert self.url.port is not None
        self._start(self.url.port)

    def remove(self) -> None:
        """Stop, and delete everything."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _create(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if self._user is not None:
            for path in (self._folder, password):
                shutil.chown(path, self._user)
        self._call(
            "initdb", "-D", str(self._data), "-U", USER, f"--pwfile={password}", "--no-sync",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
        )  # fmt: skip

    def _start_anywhere(self) -> URL:
        for _ in range(_TRIES - 1):
            port = _free_port()
            with contextlib.suppress(RuntimeError):
                return self._start(port)
        return self._start(_free_port())

    def _start(self, port: int) -> URL:
        place = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        log = self._folder / "log.txt"
        self._call(
            "pg_ctl", "-D", str(self._data), "-l", str(log), "-o", f"{place} {_FAST}", "-w", "start"
        )  # fmt: skip
        return URL.create("postgresql", USER, PASSWORD, "127.0.0.1", port, "postgres")

    def _call(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as output:  # a pipe would stay open in the server
            done = subprocess.run(
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self._user,
                cwd=self._folder,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
            output.seek(0)
            said = output.read().decode()
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{said}")


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """The server for the tests of a session."""
    given = os.environ.get("EMABENCH_TEST_POSTGRES")
    if given:
        yield Server(make_url(given))
        return
    server = PrivateServer()
    try:
        yield server
    finally:
        server.remove()


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs: the newest of Debian, or the one on the PATH."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(debian, key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise FileNotFoundError(
            "tests with the marker 'external' need a PostgreSQL server: apt-get install postgresql,"
            " or set EMABENCH_TEST_POSTGRES to the URL of one"
        )
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
