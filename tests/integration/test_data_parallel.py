"""Several devices train one run as one device does: here two processes over gloo on the CPU."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import torch
from distributed_training import METHODS, STEPS, launch, scopes, spec, train
from engines import CPU, Site, local

from emabench import experiment
from emabench.errors import SpecError
from emabench.records import JobState, RunQuery
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiments

VIT = [
    ("pretrain.threads", [1]),
    ("pretrain.precision", ["fp32"]),
    ("pretrain.method.name", ["simclr"]),
    ("pretrain.backbone.name", ["vit_tiny_patch16_224"]),
    ("pretrain.backbone.options", [{"embed_dim": 32, "depth": 3, "num_heads": 2}]),
    ("pretrain.data.train_subset", [64]),
    ("pretrain.data.test_subset", [20]),
    ("pretrain.batch_size", [16]),
    ("pretrain.checkpoint_steps", [2]),
    ("evaluation.linear.weight_decays", [[0.01]]),
]


def plans(**fields):
    axes = VIT + [(name.replace("__", "."), [value]) for name, value in fields.items()]
    specs = experiments(axes, preset="smoke")
    return [experiment.resolve(each, command="emabench run") for each in specs]


@pytest.mark.slow
def test_two_processes_give_the_losses_and_weights_of_one(tmp_path):
    """Float64, 20 steps, every kind of scope, to 1e-8."""
    wanted = [spec(method, scope) for method in METHODS for scope in scopes()]
    wanted += [
        spec("simclr", "none", ema={"scope": "none", "target_gradient": "detach"}),
        spec("moco", "full", options={"residual_weight": 1.0}),
        spec("byol", "full", views="joint"),
        # A layer that is frozen for some epochs; a target view without an online pass; labels.
        spec("dino", "full", optimizer={"lr": 0.3, "momentum": 0.0}),
        spec("ressl", "full"),
        spec("supervised", "none"),
    ]
    together = launch(wanted, tmp_path)
    for each, (first, second) in zip(wanted, together, strict=True):
        alone = train(each)
        title = f"{each.method.name} {each.ema.scope}"
        assert alone["losses"].dtype is torch.float64
        assert len(alone["losses"]) == STEPS
        for process in (first, second):
            torch.testing.assert_close(
                process["losses"], alone["losses"], rtol=0, atol=1e-8, msg=title
            )
            assert process["weights"].keys() == alone["weights"].keys()
            for name, value in alone["weights"].items():
                torch.testing.assert_close(
                    process["weights"][name], value, rtol=0, atol=1e-8, msg=f"{title} {name}"
                )
        for name, value in first["weights"].items():
            assert torch.equal(value, second["weights"][name]), f"{title} {name} differs by rank"
        # The monitor measures in float32.
        assert first["points"] == pytest.approx(alone["points"], rel=1e-3, abs=1e-5), title


@pytest.mark.slow
def test_a_run_on_two_devices_is_one_run(tmp_path):
    """It is recorded once, with the memory of both; killed in the middle, it goes on."""
    sites = {name: Site(tmp_path / name, local) for name in ("one", "two", "killed")}
    for name, site in sites.items():
        site.folder.mkdir()
        devices = 1 if name == "one" else 2
        site.queue(plans(pretrain__devices=devices, pretrain__epochs=12))
    sites["one"].work()
    sites["two"].work()

    def kill():
        while True:
            with sites["killed"].store() as store:
                for attempt in store.queue.running():
                    saved = sites["killed"].has_checkpoint(attempt.job_id)
                    if attempt.pid != os.getpid() and saved:
                        os.killpg(attempt.pid, signal.SIGKILL)
                        return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    sites["killed"].work(slots=[CPU])
    killer.join()
    runs = {}
    for name, site in sites.items():
        with site.store() as store:
            (run,) = store.runs(RunQuery(smoke=True))
            losses = {m.step: m.value for m in store.metrics(run.id, "loss")}
            names = {m.name for m in store.metrics(run.id)}
        assert run.state is JobState.DONE
        assert len(losses) == 12
        runs[name] = (run, losses, names)
    (one, expected, known), (two, losses, names), (killed, again, _) = runs.values()
    assert names == known
    assert losses == pytest.approx(expected, rel=1e-3)
    assert again == losses
    assert killed.results == two.results
    assert [job.attempts[-1].environment.device_count for job in two.jobs] == [2, 1]
    alone = one.jobs[0].attempts[-1].cost
    cost = two.jobs[0].attempts[-1].cost
    assert cost.host_peak_rss > 1.5 * alone.host_peak_rss
    assert cost.ema_bytes == 2 * alone.ema_bytes
    assert cost.steps == alone.steps
    assert cost.throughput > 0
    assert [a.state for a in killed.jobs[0].attempts] == [JobState.FAILED, JobState.DONE]


def test_one_device_leaves_the_identity_of_a_run_alone():
    (plain,) = plans()
    assert plain.spec["pretrain"]["devices"] == 1
    (two,) = plans(pretrain__devices=2)
    assert two.fingerprint != plain.fingerprint
    fields = {**plain.spec, "pretrain": {**plain.spec["pretrain"]}}
    del fields["pretrain"]["devices"]
    assert ExperimentSpec.parse(fields).pretrain.devices == 1


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"pretrain__devices": 3}, "cannot share a batch of 16 images", "multiple of 3"),
        (
            {"pretrain__devices": 2, "pretrain__method__name": "byol"},
            "method byol with backbone vit_tiny_patch16_224 has BatchNorm",
            "--devices at 1",
        ),
    ],
)
def test_what_several_devices_could_not_train_alike_is_refused(fields, message, hint):
    with pytest.raises(SpecError, match=message) as caught:
        plans(**fields)
    assert hint in caught.value.hint
