"""A server that is away for a while is waited for; one that stays away is not."""

from __future__ import annotations

import pytest
from seeding import plan

from emabench.errors import FencedError, StoreError, StoreUnreachableError
from emabench.queue import patience
from emabench.queue.heartbeat import StaleWatch
from emabench.queue.patience import patient, patiently
from emabench.store import RunStore


class Clock:
    """A clock that goes on by the sleeps alone."""

    def __init__(self):
        self.now, self.sleeps = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


def away(times, result="back", error=StoreUnreachableError):
    calls = iter([error("the store is gone")] * times)

    def do():
        for failure in calls:
            raise failure
        return result

    return do


def test_a_server_that_comes_back_is_waited_for_with_growing_pauses(clock):
    said = []
    assert patiently(away(6), stop=lambda: False, say=said.append) == "back"
    assert clock.now == pytest.approx(0.25 + 0.5 + 1 + 2 + 4 + 8)
    assert said == ["the store is gone; waiting for it", "the store is back"]


def test_a_server_that_stays_away_ends_the_patience(clock):
    with pytest.raises(StoreUnreachableError):
        patiently(away(10_000), stop=lambda: False, seconds=300.0)
    assert 300 < clock.now < 320


def test_whoever_is_asked_to_stop_does_not_wait(clock):
    with pytest.raises(StoreUnreachableError):
        patiently(away(10_000), stop=lambda: clock.now > 2)
    assert clock.now < 3


@pytest.mark.parametrize("error", [StoreError, FencedError])
def test_what_waiting_does_not_mend_is_raised_at_once(clock, error):
    with pytest.raises(error):
        patiently(away(1, error=error), stop=lambda: False)
    assert clock.now == 0


def test_a_patient_store_asks_again_and_nothing_is_doubled(clock, tmp_path, monkeypatch):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        failures = [0]
        whole = type(store._database).write

        def write(database):  # every second transaction finds no server
            failures[0] += 1
            if failures[0] % 2:
                raise StoreUnreachableError("the store is gone")
            return whole(database)

        monkeypatch.setattr(type(store._database), "write", write)
        slow = patient(store, stop=lambda: False)
        run = slow.add_run(plan())
        claim = slow.queue.claim(run.id)
        slow.queue.beat(claim)
        slow.queue.release(claim, reason="stopped", cost=None)
        assert len(slow.runs()) == 1
        assert slow.job(run.id).attempt == 1
    assert failures[0] == 8


def test_a_heart_that_stood_still_while_nobody_looked_is_not_dead():
    class Running:
        job_id, number, heartbeat = "a", 1, 3

    watch = StaleWatch(60.0)
    assert watch.stale([Running], 0.0) == []
    watch.forget()
    assert watch.stale([Running], 300.0) == []
    assert watch.stale([Running], 370.0) == [Running]
