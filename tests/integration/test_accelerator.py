"""What only an accelerator can show; run where there is one.

pytest -m accelerator -n 0
"""

import gzip
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from emabench import device as devices
from emabench.cost.meter import CostMeter
from emabench.data import loader
from emabench.data.augmentation.augment import Augmenter
from emabench.data.images import load_dataset
from emabench.data.loader import EpochLoader
from emabench.device import bind_device
from emabench.errors import InterruptedRunError
from emabench.events import EpochProgress
from emabench.experiment import pretrain, resolve
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiments
from emabench.training.trainer import Trainer

pytestmark = [
    pytest.mark.accelerator,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

ACCELERATOR = devices.choose("auto")
TRAINED = [name for name in method_names() if name != "random"]
MASKED = [name for name in TRAINED if issubclass(load_method(name), MaskedMethod)]
WITH_TARGET = [name for name in TRAINED if load_method(name).target_views and name not in MASKED]
SMALL = {"backbone__options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]}}


@pytest.fixture(autouse=True)
def _there_is_an_accelerator():
    assert ACCELERATOR.type != "cpu", "this machine has no accelerator"


def resolved(**fields):
    fields = {"precision": "fp32", **fields}
    axes = [(f"pretrain.{path.replace('__', '.')}", [value]) for path, value in fields.items()]
    (spec,) = experiments(axes, preset="smoke")
    return ExperimentSpec.parse(resolve(spec, command="emabench run").spec).pretrain


def trainer_of(spec):
    device = bind_device(spec)
    return Trainer(spec, load_dataset(spec.data), device, CostMeter(device))


def train(spec, folder, *, stop=lambda: False, earlier=(), on_event=lambda event: None):
    points = []
    meter = CostMeter(bind_device(spec))
    outcome = pretrain(
        spec,
        folder=folder,
        earlier=earlier,
        on_event=on_event,
        record=points.extend,
        stop=stop,
        meter=meter,
    )
    return outcome, points


def losses_of(points):
    return [point.value for point in points if point.name == "loss"]


def test_auto_is_the_accelerator_and_its_precision_the_native_one():
    spec = resolved(precision="auto")
    device = bind_device(spec)
    assert device.torch == ACCELERATOR
    assert str(ACCELERATOR) == devices.available()[0]
    assert device.precision == ("bf16" if devices.has_native_bf16(ACCELERATOR) else "fp32")
    trainer = trainer_of(spec)
    assert {p.device for p in trainer.learner.parameters()} == {ACCELERATOR}


@pytest.mark.parametrize("scope", ["none", "projector", "from:layer3", "full"])
@pytest.mark.parametrize("method", WITH_TARGET)
def test_no_step_waits_for_the_device(method, scope):
    never_waits(resolved(method__name=method, ema__scope=scope, precision="auto"))


@pytest.mark.parametrize("method", sorted(set(TRAINED) - set(WITH_TARGET)))
def test_no_step_without_a_target_waits_for_the_device(method):
    never_waits(resolved(method__name=method, ema__scope="none", precision="auto"))


def never_waits(spec):
    trainer = trainer_of(spec)
    trainer.start(epoch=1)
    batches = trainer.endless()
    for _ in range(2):  # libraries load, and the optimiser makes its state
        trainer.train_step(next(batches))
    try:
        torch.cuda.set_sync_debug_mode("error")
        losses = [trainer.train_step(next(batches)) for _ in range(4)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(losses).isfinite().all()


def test_the_views_are_those_of_the_cpu():
    spec = resolved()
    dataset = load_dataset(spec.data)
    images = torch.from_numpy(np.array(dataset.train.images[:64]))
    for view in spec.augmentation.views():
        made = []
        for device in (torch.device("cpu"), ACCELERATOR):
            augmenter = Augmenter(view, dataset.image_size, dataset.mean, dataset.std, device)
            made.append(augmenter(images.to(device), torch.Generator().manual_seed(0)).cpu())
        torch.testing.assert_close(made[1], made[0], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("method", WITH_TARGET)
def test_all_scopes_start_with_the_same_loss_that_the_cpu_has(method):
    def first_loss(scope, device):
        trainer = trainer_of(resolved(method__name=method, ema__scope=scope, device=device))
        trainer.start(epoch=0)
        return trainer.train_step(next(trainer.endless())).item()

    cpu = first_loss("none", "cpu")
    for scope in ("none", "layer2", "projector", "full"):
        assert first_loss(scope, "auto") == pytest.approx(cpu, rel=2e-3, abs=1e-4), scope


def test_the_copies_follow_the_definition():
    trainer = trainer_of(resolved(method__name="moco", ema__scope="full"))
    target = trainer.learner.target
    online = trainer.learner.encoder
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    expected = [
        0.9 * mine.double() + 0.1 * theirs.double()
        for name in target.copies
        for mine, theirs in zip(
            target.copies[name].parameters(), online.blocks[name].parameters(), strict=True
        )
    ]
    target.update(0.9)
    found = [p.double() for name in target.copies for p in target.copies[name].parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_batches_arrive_whole_while_the_device_computes(monkeypatch):
    spec = resolved(batch_size=25)
    images = load_dataset(spec.data).train
    monkeypatch.setattr(loader, "_RESIDENT_BYTES", 0)
    work = torch.randn(2048, 2048, device=ACCELERATOR)
    for epoch in range(3):
        for batch in EpochLoader(images, 25, 0, ACCELERATOR).epoch(epoch):
            for _ in range(20):
                work = torch.tanh(work @ work)
            doubled = batch.images.to(torch.int16) * 2
            expected = torch.from_numpy(np.array(images.images[batch.indices.numpy()]))
            assert torch.equal(doubled.cpu(), expected.to(torch.int16) * 2)
            assert batch.labels.tolist() == [images.labels[i] for i in batch.indices.tolist()]


@pytest.mark.parametrize("stop_after", [3, 8])
def test_a_stopped_run_goes_on(tmp_path, stop_after):
    spec = resolved(method__name="moco", ema__scope="full")
    _, points = train(spec, tmp_path / "whole")
    asked = iter(range(10_000))
    with pytest.raises(InterruptedRunError):
        train(spec, tmp_path / "one", stop=lambda: next(asked) + 1 >= stop_after)
    _, rest = train(spec, tmp_path / "two", earlier=[tmp_path / "one"])
    # An accelerator sums in whatever order its blocks come, so that the last digits differ.
    assert losses_of(rest) == pytest.approx(losses_of(points)[-len(losses_of(rest)) :], rel=1e-3)


def test_memory_of_the_device_does_not_grow(tmp_path):
    held = []

    def on_event(event):
        if isinstance(event, EpochProgress):
            held.append(torch.cuda.memory_allocated(ACCELERATOR))

    train(resolved(method__name="moco", ema__scope="full", epochs=6), tmp_path, on_event=on_event)
    assert len(held) == 6
    assert len(set(held[1:])) == 1, held


def test_copies_take_their_bytes_on_the_device():
    held = {}
    for scope in ("none", "full"):
        before = torch.cuda.memory_allocated(ACCELERATOR)
        trainer = trainer_of(resolved(ema__scope=scope, **SMALL))
        held[scope] = torch.cuda.memory_allocated(ACCELERATOR) - before
        copies = trainer.learner.target.ema_bytes
        tensors = sum(1 for _ in trainer.learner.target.copies.state_dict())
        del trainer
    # torch gives memory in blocks of 512 bytes.
    assert copies <= held["full"] - held["none"] <= copies + 512 * tensors


# Importing the compiler of torch < 2.12 warns of torch's own use of what it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compiled_blocks_compute_the_same_but_for_rounding(tmp_path):
    plain, points = train(resolved(ema__scope="full"), tmp_path / "plain")
    compiled, same = train(resolved(ema__scope="full", compile=True), tmp_path / "compiled")
    assert compiled.cost.warmup_s > plain.cost.warmup_s, "compiling counts as warm-up"
    assert losses_of(same) == pytest.approx(losses_of(points), rel=5e-3)


def test_a_run_says_what_it_cost_and_its_weights_work_on_the_cpu(emabench):
    run = ["run", "--preset", "smoke", "--method", "moco", "--ema-scope", "projector", "--json"]
    done = emabench([*run, "--epochs", "4"])
    assert done.code == 0, done.err
    shown = json.loads(emabench(["show", "@last", "--json"]).out)["run"]
    cost, environment = shown["cost"], shown["environment"]
    assert environment["device_kind"] == ACCELERATOR.type
    assert environment["device"] == devices.describe(ACCELERATOR)
    assert environment["versions"]["cuda"]
    assert cost["device_peak_reserved"] >= cost["device_peak_allocated"] > cost["ema_bytes"] > 0
    assert cost["energy_j"] > 0, "is nvidia-ml-py installed?"
    assert cost["throughput"] > 0
    assert cost["online_forward_ms"] > cost["target_forward_ms"] > 0
    on_cpu = emabench(["eval", "@last", "--device", "cpu", "--set", "evaluation.knn.k=20"])
    assert on_cpu.code == 0, on_cpu.err


def test_a_bench_has_energy_and_memory_of_each_scope(emabench):
    bench = ["bench", "--backbone", "resnet18", "--batch-size", "64", "--steps", "10", "--json"]
    done = emabench([*bench, "--ema-scope", "none,projector,full"])
    assert done.code == 0, done.err
    none, projector, full = json.loads(done.out)["benches"][0]["rows"]
    for row in (none, projector, full):
        assert row["energy_j_per_step"] > 0
        assert row["phases_ms"]["backward"] > row["phases_ms"]["online_forward"] > 0
    peaks = [row["peak_memory_bytes"] for row in (none, projector, full)]
    assert peaks == sorted(peaks)
    assert peaks[2] - peaks[0] >= full["ema_bytes"]
    assert projector["ratio"]["value"] < full["ratio"]["value"]


def test_workers_share_the_device_and_one_that_is_stopped_goes_on(emabench, folder):
    queued = ["queue", "--preset", "smoke", "--ema-scope", "none,full", "--seed", "0..1"]
    assert emabench([*queued, "--epochs", "150"]).code == 0
    work = [sys.executable, "-m", "emabench", "work", "--device", "cuda:0,cpu", "--idle-exit"]
    first = subprocess.Popen(work, stderr=subprocess.PIPE, text=True)
    while not states(emabench, "running"):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.5)
    time.sleep(5)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) in (0, 130), first.stderr.read()
    done = subprocess.run(work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert states(emabench, "done") == 4


def states(emabench, state):
    rows = json.loads(emabench(["list", "--smoke", "--json"]).out)["runs"]
    return sum(row["state"] == state for row in rows)


def test_a_trace_has_the_kernels_of_the_device(emabench, folder):
    done = emabench(["run", "--preset", "smoke", "--profile", "--json"])
    assert done.code == 0, done.err
    (trace,) = folder.rglob("*trace*.gz")
    with gzip.open(trace) as file:
        events = json.load(file)["traceEvents"]
    assert any(event.get("cat") == "kernel" for event in events)
