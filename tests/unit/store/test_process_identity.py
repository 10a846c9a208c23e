"""Telling a process that works from one that is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from emabench.store.queue import processes
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.schema.tables import host_name


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
    identity = ProcessIdentity(socket.gethostname(), process.pid, started)  # as of before
    assert not identity.is_gone()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_gone()
    process.communicate()
    assert identity.is_gone()


@pytest.mark.parametrize(
    ("file", "words"),
    [("_BOOT_ID", "another boot"), ("_PID_NAMESPACE", "pid:[4026539999]")],
)
def test_a_process_of_another_container_is_not_looked_for_here(tmp_path, monkeypatch, file, words):
    elsewhere = tmp_path / "elsewhere"
    if file == "_BOOT_ID":
        elsewhere.write_text(words)
    else:
        elsewhere.symlink_to(words)
    processes._mark.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(processes, file, elsewhere)
        other = replace(ProcessIdentity.of_this(), pid=2**22 + 1)
    processes._mark.cache_clear()
    assert not other.is_gone(), "a container of the same host name may have such a process"
    here = replace(ProcessIdentity.of_this(), pid=2**22 + 1)
    assert here.is_gone()
    assert here.host != other.host
    assert host_name(here.host) == host_name(other.host) == socket.gethostname()
    assert replace(here, host=socket.gethostname()).is_gone(), "a row of before has no mark"


def test_a_system_without_marks_has_the_name_alone(tmp_path, monkeypatch):
    processes._mark.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_BOOT_ID", tmp_path / "none")
        me = ProcessIdentity.of_this()
        assert me.host == socket.gethostname()
        assert replace(me, pid=2**22 + 1).is_gone()
    processes._mark.cache_clear()


def test_a_process_that_cannot_be_looked_at_counts_as_alive(monkeypatch):
    def deny(process):
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "status", deny)
    assert not ProcessIdentity.of_this().is_gone()
