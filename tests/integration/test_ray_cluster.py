"""A real Ray of three nodes on this machine; one of them dies in the middle of a sweep."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, defaultdict

import psutil
import pytest
from engines import CPU, Site, local, on_ray, plans, without_dashboard

from emabench.events import JobEnded
from emabench.records import JobState

pytestmark = pytest.mark.external

STORE_BYTES = 80 * 2**20


@pytest.fixture
def cluster():
    import ray
    from ray.cluster_utils import Cluster

    with without_dashboard():
        node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
        head = {**node, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**node)
            cluster.add_node(**node)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


class Journals:
    """Watches the journals of all attempts grow, until it is stopped."""

    def __init__(self, site):
        self._site, self._over = site, threading.Event()
        self.sizes = defaultdict(dict)
        self.overlaps = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.05):
            for job_id, number in self._site.exchange.journals():
                path = self._site.files / job_id / f"attempt-{number}" / "journal.jsonl"
                size, known = path.stat().st_size, self.sizes[job_id]
                begun = [n for n, seen in known.items() if n > number and seen]
                if begun and size != known.get(number, 0):
                    self.overlaps.append((job_id, number, begun))
                known[number] = size


def kill_a_node(cluster, site, died):
    """Kill a node that is not the head, once a job works on it and has saved a checkpoint."""
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    while True:
        with site.store() as store:
            for attempt in store.queue.running():
                if attempt.pid == os.getpid() or not site.has_checkpoint(attempt.job_id):
                    continue
                try:
                    parents = {p.pid for p in psutil.Process(attempt.pid).parents()}
                except psutil.NoSuchProcess:
                    continue
                for pid in parents & raylets.keys():
                    died.append(attempt.job_id)
                    cluster.remove_node(raylets[pid], allow_graceful=False)
                    return
        time.sleep(0.02)


def test_a_sweep_survives_the_death_of_a_node(cluster, tmp_path):
    here, far = Site(tmp_path / "here", local), Site(tmp_path / "far", on_ray)
    for site in (here, far):
        site.folder.mkdir()
        site.queue(plans(6, epochs=12))
    journals, died, events = Journals(far), [], []
    killer = threading.Thread(target=kill_a_node, args=(cluster, far, died))
    killer.start()
    try:
        far.work(events.append, slots=[CPU] * 4)
    finally:
        journals.stop()
    killer.join()

    here.work()
    assert far.outcome() == here.outcome()
    assert journals.overlaps == [], "a job ran twice at once"
    assert len(journals.sizes) == 12
    ends = [event for event in events if isinstance(event, JobEnded)]
    done = Counter(end.claim.job_id for end in ends if end.state is JobState.DONE)
    assert sorted(done.values()) == [1] * 12
    with far.store() as store:
        first, second = store.job(died[0]).attempts
    assert (first.state, second.state) == (JobState.FAILED, JobState.DONE)
    assert "died" in first.reason
    log = (far.files / died[0] / "attempt-2" / "log.txt").read_text()
    assert "resumed after step" in log
