"""Telling a process that works from one that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import psutil

from emabench.store.queue.processes import ProcessIdentity


def test_the_process_that_asks_is_alive():
    assert not ProcessIdentity.of_this().is_gone()


def test_a_later_process_with_the_same_pid_is_another_one():
    me = ProcessIdentity.of_this()
    assert me.started is not None
    assert replace(me, started=me.started - 3600).is_gone()
    assert not replace(me, started=None).is_gone()


def test_a_process_is_gone_from_its_end_on_although_nobody_asked_for_its_code():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(process.pid).create_time() - psutil.boot_time()
    identity = ProcessIdentity("here", process.pid, started)
    assert not identity.is_gone()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_gone()
    process.communicate()
    assert identity.is_gone()


def test_a_process_that_cannot_be_looked_at_counts_as_alive(monkeypatch):
    def deny(process):
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "status", deny)
    assert not ProcessIdentity.of_this().is_gone()
