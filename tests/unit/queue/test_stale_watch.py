"""An attempt is stale by the observer's clock and by nothing else."""

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from emabench.artifacts.layout import attempt_folder
from emabench.engines.job import is_superseded
from emabench.errors import FencedError
from emabench.queue.heartbeat import Heartbeat, StaleWatch
from emabench.records import JobKind, RunningAttempt

ATTEMPT = RunningAttempt(
    job_id="a" * 12,
    run_id="a" * 12,
    kind=JobKind.PRETRAIN,
    number=1,
    host="h",
    pid=1,
    device=None,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    heartbeat=7,
    process_gone=False,
    spec={},
)
OTHER = replace(ATTEMPT, job_id="b" * 12, heartbeat=7)


def test_a_heartbeat_that_stands_still_is_stale_only_after_the_seconds():
    watch = StaleWatch(60)
    assert watch.stale([ATTEMPT], 1000) == []
    assert watch.stale([ATTEMPT], 1060) == []
    assert watch.stale([ATTEMPT], 1060.5) == [ATTEMPT]
    assert watch.stale([ATTEMPT], 1061) == [ATTEMPT], "until somebody does something about it"


def test_a_heartbeat_that_moves_begins_the_wait_anew():
    watch = StaleWatch(60)
    watch.stale([ATTEMPT], 0)
    beaten = replace(ATTEMPT, heartbeat=8)
    assert watch.stale([beaten], 59) == []
    assert watch.stale([beaten], 119) == []
    assert watch.stale([beaten], 120) == [beaten]


def test_a_counter_that_moves_back_has_moved():
    watch = StaleWatch(60)
    watch.stale([ATTEMPT], 0)
    assert watch.stale([replace(ATTEMPT, heartbeat=0)], 100) == []


def test_each_attempt_is_watched_for_itself():
    watch = StaleWatch(60)
    watch.stale([ATTEMPT], 0)
    watch.stale([ATTEMPT, OTHER], 50)
    moved = replace(ATTEMPT, heartbeat=8)
    assert watch.stale([moved, OTHER], 100) == []
    assert watch.stale([moved, OTHER], 120) == [OTHER]


def test_a_new_attempt_at_the_job_is_another_one():
    watch = StaleWatch(60)
    watch.stale([ATTEMPT], 0)
    assert watch.stale([replace(ATTEMPT, number=2)], 100) == []


def test_an_attempt_that_was_out_of_sight_is_observed_anew():
    watch = StaleWatch(60)
    watch.stale([ATTEMPT], 0)
    assert watch.stale([], 30) == []
    assert watch.stale([ATTEMPT], 100) == []
    assert watch.stale([ATTEMPT], 161) == [ATTEMPT]


def test_the_clock_of_the_host_plays_no_part():
    watch = StaleWatch(60)
    watch.stale([ATTEMPT], 0)
    for jump in (timedelta(days=-900), timedelta(days=900)):
        moved = replace(ATTEMPT, started_at=ATTEMPT.started_at + jump)
        assert watch.stale([moved], 30) == []


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=30), st.floats(51, 500))
def test_who_beats_between_all_looks_is_never_stale(pauses, seconds):
    watch, now = StaleWatch(seconds), 0.0
    for beat, pause in enumerate(pauses):
        assert watch.stale([replace(ATTEMPT, heartbeat=beat)], now) == []
        now += pause


@given(st.lists(st.floats(0.01, 50), min_size=2, max_size=30), st.floats(0, 200))
def test_who_never_beats_is_stale_exactly_when_the_seconds_are_over(pauses, seconds):
    watch, now = StaleWatch(seconds), 0.0
    for pause in pauses:
        assert (watch.stale([ATTEMPT], now) == [ATTEMPT]) is (now > seconds)
        now += pause


def test_heartbeats_are_watched_without_torch():
    code = "import sys, emabench.queue.heartbeat; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Silent:
    """A writer whose disk answers the second time."""

    def __init__(self):
        self.asked = 0

    def beat(self, claim, progress):
        self.asked += 1
        if self.asked == 1:
            raise OSError("stale file handle")
        if self.asked == 3:
            raise FencedError("ended")


def test_a_heart_beats_on_after_a_disk_that_did_not_answer():
    writer = Silent()
    with Heartbeat(writer, None, seconds=0.001) as heartbeat:
        heartbeat._thread.join(10)
        assert heartbeat.lost
    assert writer.asked == 3


def test_an_attempt_whose_job_was_removed_is_superseded(tmp_path):
    folder = attempt_folder(tmp_path, "a" * 12, 1)
    folder.mkdir(parents=True)
    assert not is_superseded(tmp_path, "a" * 12, 1)
    attempt_folder(tmp_path, "a" * 12, 2).mkdir()
    assert is_superseded(tmp_path, "a" * 12, 1)
    shutil.rmtree(folder.parent)
    assert is_superseded(tmp_path, "a" * 12, 1)
