"""Environments are kept once, however many attempts ran there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.store import RunStore


@pytest.mark.parametrize("hosts", [1, 3])
def test_equal_environments_share_a_row(tmp_path, hosts):
    path = tmp_path / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        for seed in range(4):
            environment = replace(ENVIRONMENT, host=f"host-{seed % hosts}")
            run = complete(store, plan(seed=seed), environment=environment)
            assert store.run(run).environment == environment
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM environments").fetchone() == (hosts,)
