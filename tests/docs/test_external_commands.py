"""The shown commands that need a PostgreSQL server or a Ray."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import replace

import place
import pytest
from changes import EXTERNAL
from page import Page, changes_of
from sqlalchemy import make_url
from test_shown_commands import CASES

COMMANDS = [
    each
    for _, commands in CASES
    for each in commands
    if any(change.elsewhere == EXTERNAL for change in changes_of(each))
]
ON_RAY = [each for each in COMMANDS if "--engine ray" in each.text]
ON_SERVER = [each for each in COMMANDS if "--engine ray" not in each.text]


@pytest.mark.external
def test_commands_on_a_server_work(programs, prepared, tmp_path, monkeypatch):
    from postgres import running

    place.furnish(tmp_path, prepared, "")
    env = place.environment(programs.folder, programs.warm)
    with running() as server, server.database() as url:
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        here = [
            replace(each, text=re.sub(r"postgresql://\S+", lambda _: plain, each.text))
            for each in ON_SERVER
        ]
        page = Page(tmp_path, env, prepared, monkeypatch)
        troubles = page.run_all(here, anywhere=True)
    assert not troubles, "\n\n".join(troubles)


@pytest.mark.external
def test_commands_on_a_ray_work(programs, prepared, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    place.furnish(tmp_path, prepared, "")
    env = place.environment(programs.folder, None) | {"RAY_USAGE_STATS_ENABLED": "0"}
    # A Ray of its own: none runs here, so that there is no address.
    here = [replace(each, text=each.text.replace(" --address auto", "")) for each in ON_RAY]
    queued = shlex.split("emabench queue --method moco --seed 5 --set threads=1")
    subprocess.run(queued, cwd=tmp_path, env=env, check=True, capture_output=True)
    page = Page(tmp_path, {**os.environ, **env}, prepared, monkeypatch)
    troubles = page.run_all(here, anywhere=True)
    assert not troubles, "\n\n".join(troubles)
