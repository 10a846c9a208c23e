"""Few real steps on real images: equal starts, determinism, resume, NaN, weights."""

import pytest
import timm
import torch
from safetensors.torch import load_file

from emabench.cost.meter import CostMeter
from emabench.data.augmentation.augment import Augmenter
from emabench.data.images import load_dataset
from emabench.data.loader import EpochLoader
from emabench.device import Device
from emabench.ema import TargetNetwork
from emabench.errors import InterruptedRunError, SpecError, TrainingError
from emabench.experiment import evaluate, pretrain, resolve
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import TrainingSet
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiments
from emabench.training.learner import Learner
from emabench.training.trainer import Trainer
from emabench.training.weights import weights_file

CPU = Device(torch.device("cpu"), "fp32")
METHODS = [
    name
    for name in method_names()
    if load_method(name).target_views and not issubclass(load_method(name), MaskedMethod)
]
"""Those with a target; masked ones are in ``tests/contract/test_masked_methods.py``."""
BLOCKS = ("stem", "layer1", "layer2", "layer3", "layer4", "projector")
pytestmark = pytest.mark.usefixtures("uncounted")


def resolved(**fields):
    axes = [("pretrain.threads", [1])]
    axes += [(f"pretrain.{path.replace('__', '.')}", [value]) for path, value in fields.items()]
    (spec,) = experiments(axes, preset="smoke")
    return ExperimentSpec.parse(resolve(spec, command="emabench run").spec)


def train(spec, folder, *, stop=lambda: False, earlier=(), on_event=lambda event: None):
    points = []
    outcome = pretrain(
        spec.pretrain,
        folder=folder,
        earlier=earlier,
        on_event=on_event,
        record=points.extend,
        stop=stop,
        meter=CostMeter(CPU),
    )
    return outcome, points


@pytest.fixture(scope="module")
def first_batch():
    spec = resolved().pretrain
    dataset = load_dataset(spec.data)
    batch = next(EpochLoader(dataset.train, 128, 0, CPU.torch).epoch(0))
    generator = torch.Generator().manual_seed(0)
    return [
        Augmenter(view, dataset.image_size, dataset.mean, dataset.std, CPU.torch)(
            batch.images, generator
        )
        for view in spec.augmentation.views()
    ]


def first_step(first_batch, **fields):
    """Return the loss of the first step and the norm of the online gradient."""
    spec = resolved(batch_size=len(first_batch[0]), **fields).pretrain
    learner = Learner(spec, 28, TrainingSet(images=200, classes=10)).train()
    if spec.method.name == "moco":  # with an empty queue its loss would be 0
        generator = torch.Generator().manual_seed(1)
        learner.method.remember(tuple(torch.randn(2, 128, 32, generator=generator)))
    output = learner(dict(enumerate(first_batch)))
    output.objective.backward()
    gradients = [p.grad for p in learner.encoder.parameters() if p.grad is not None]
    return output.loss.item(), torch.nn.utils.get_total_norm(gradients).item()


@pytest.mark.parametrize("views", ["separate", pytest.param("joint", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_all_scopes_start_with_the_same_loss_and_gradient(first_batch, method, views):
    common = {"method__name": method, "views": views}
    loss, norm = first_step(first_batch, ema__scope="none", **common)
    assert norm > 0.001
    for scope in ("layer2", "from:layer4", "projector", "full"):
        other_loss, other_norm = first_step(first_batch, ema__scope=scope, **common)
        assert other_loss == pytest.approx(loss, rel=1e-5), scope
        assert other_norm == pytest.approx(norm, rel=0.01), scope


def test_the_control_arm_detaches_with_the_same_loss_and_gradient(first_batch):
    loss, norm = first_step(first_batch, ema__scope="none")
    control = first_step(first_batch, ema__scope="none", ema__target_gradient="detach")
    assert control == (pytest.approx(loss, rel=1e-5), pytest.approx(norm, rel=1e-4))


def test_in_one_role_alone_the_gradient_would_be_half(first_batch, monkeypatch):
    _, norm = first_step(first_batch, ema__scope="none")
    monkeypatch.setattr(load_method("simclr"), "stop_gradient", True)
    _, one_role = first_step(first_batch, ema__scope="full")
    assert one_role == pytest.approx(norm / 2, rel=0.1)


def test_the_views_go_jointly_or_one_by_one_only_where_the_spec_says_so(first_batch):
    separate, _ = first_step(first_batch, views="separate")
    joint, _ = first_step(first_batch, views="joint")
    assert separate != pytest.approx(joint, rel=1e-4), "BatchNorm sees other batches"


def test_the_update_runs_after_the_optimiser_with_the_decay_of_the_step(tmp_path, monkeypatch):
    decays, equal = [], []
    update = TargetNetwork.update

    def spy(self, decay):
        online = self._online[0].blocks["projector"]
        pairs = zip(self.copies["projector"].parameters(), online.parameters(), strict=True)
        equal.append(all(torch.equal(a, b) for a, b in pairs))
        decays.append(decay)
        update(self, decay)

    monkeypatch.setattr(TargetNetwork, "update", spy)
    ema = {"ema__scope": "projector", "ema__decay": 0.5, "ema__final_decay": 1.0}
    train(resolved(max_steps=4, **ema), tmp_path)
    assert decays == pytest.approx([0.5, 0.625, 0.875, 1.0])
    assert not equal[0], "the optimiser has moved the online block before the first update"


@pytest.mark.parametrize(("method", "scope"), [("simclr", "none"), ("moco", "from:layer3")])
def test_the_same_spec_gives_the_same_bits_twice(tmp_path, method, scope):
    spec = resolved(method__name=method, ema__scope=scope, epochs=1)
    first, points = train(spec, tmp_path / "a")
    second, again = train(spec, tmp_path / "b")
    weights = [(tmp_path / name / "online.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    assert first.results == second.results
    assert points == again


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A spec with a queue and a whole target, and what its training gave in which folder."""
    folder = tmp_path_factory.mktemp("whole")
    spec = resolved(method__name="moco", ema__scope="full")
    return spec, *train(spec, folder), folder


@pytest.mark.parametrize("stop_after", [3, 6, 8])
def test_a_stopped_run_goes_on_exactly(tmp_path, undisturbed, stop_after):
    spec, whole, points, folder = undisturbed
    asked = iter(range(10_000))
    with pytest.raises(InterruptedRunError):
        train(spec, tmp_path / "one", stop=lambda: next(asked) + 1 >= stop_after)
    assert (tmp_path / "one" / "checkpoint.pt").exists()
    resumed, rest = train(spec, tmp_path / "two", earlier=[tmp_path / "one"])
    for name in ("online", "target"):
        path = f"{name}.safetensors"
        assert (folder / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    assert resumed.results == whole.results
    assert rest == points[-len(rest) :]


def test_a_checkpoint_holds_queue_target_schedule_and_step():
    spec = resolved(method__name="moco", ema__scope="projector").pretrain
    trainer = Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))
    state = trainer.state_dict()
    assert {"method.queue.keys", "method.queue.enqueued"} <= set(state["learner"])
    assert any(name.startswith("target.copies.projector") for name in state["learner"])
    assert state["step"] == 0


def test_a_loss_that_is_not_finite_names_the_step(tmp_path, monkeypatch):
    simclr = load_method("simclr")
    original, calls = simclr.loss, iter(range(100))

    def poisoned(self, online, target):
        loss = original(self, online, target)
        return loss * float("nan") if next(calls) == 7 else loss

    monkeypatch.setattr(simclr, "loss", poisoned)
    with pytest.raises(TrainingError, match="nan at step 8 of 12") as caught:
        train(resolved(), tmp_path)
    assert "--lr" in caught.value.hint


def test_the_weights_load_into_timm_and_are_evaluated(tmp_path):
    options = {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]}
    spec = resolved(ema__scope="full", backbone__stem="original", backbone__options=options)
    train(spec, tmp_path / "job" / "attempt-1")
    online, target = (weights_file(tmp_path, "job", name) for name in ("online", "target"))
    assert online != target
    model = timm.create_model("resnet18", num_classes=0, checkpoint_path=str(online), **options)
    outcome = evaluate(spec, weights=online, on_event=lambda event: None, meter=CostMeter(CPU))
    images = torch.randn(2, 3, 28, 28)
    torch.manual_seed(0)
    fresh = timm.create_model("resnet18", num_classes=0, **options)
    assert not torch.equal(model.eval()(images), fresh.eval()(images))
    assert len(outcome.correct["top1"]) == 100
    assert sum(outcome.correct["top1"]) == outcome.results["top1"]


def test_without_averaged_backbone_the_target_is_evaluated_by_the_online_weights(tmp_path):
    train(resolved(ema__scope="projector", epochs=0), tmp_path / "job" / "attempt-1")
    assert weights_file(tmp_path, "job", "target") == weights_file(tmp_path, "job", "online")


def test_no_epochs_evaluate_the_untrained_network(tmp_path):
    spec = resolved(epochs=0)
    outcome, points = train(spec, tmp_path)
    assert points == []
    assert outcome.cost.throughput is None
    assert outcome.cost.train_s is None
    assert (tmp_path / "online.safetensors").exists()


def test_a_stop_at_the_very_last_step_leaves_nothing_to_do(tmp_path, monkeypatch):
    spec = resolved(max_steps=8)  # in the middle of the second epoch of 6 steps
    whole, points = train(spec, tmp_path / "whole")
    steps, train_step = [], Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda *a: (steps.append(1), train_step(*a))[1])
    late, same = train(spec, tmp_path / "late", stop=lambda: len(steps) == 8)
    assert late.results == whole.results
    assert same == points


def learner_of(**fields):
    spec = resolved(batch_size=128, **fields).pretrain
    return Learner(spec, 28, TrainingSet(images=200, classes=10)).train()


def moved_away(learner):
    """Move the online weights away from the target's, as an optimiser step would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in learner.encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return learner


@pytest.mark.parametrize("views", ["separate", pytest.param("joint", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_residual_momentum_adds_the_distance_to_the_own_target(first_batch, method, views):
    batch = dict(enumerate(first_batch))
    common = {"method__name": method, "ema__scope": "from:layer4", "views": views}
    plain = moved_away(learner_of(**common))
    weighted = moved_away(learner_of(**common, method__options__residual_weight=0.5))
    without, with_it = plain(batch), weighted(batch)
    trained = plain.method.online_views
    online = [each[-1] for each in without.activations]
    target = [plain.target(each) for each in without.activations]
    if views == "joint":
        online, target = (each[0].chunk(len(trained)) for each in (online, target))
    distances = [
        1 - (a * b).sum(dim=1) / a.norm(dim=1) / b.norm(dim=1)
        for a, b in zip(online, target, strict=True)
    ]
    expected = 0.5 * torch.stack(distances).mean()
    assert expected > 0.001
    torch.testing.assert_close(with_it.loss, without.loss + expected)
    torch.testing.assert_close(with_it.objective, without.objective + expected)


@pytest.mark.parametrize("views", ["separate", "joint"])
def test_the_target_view_of_ressl_is_never_trained_on(first_batch, views):
    learner = learner_of(method__name="ressl", ema__scope="none", views=views)
    batch = {
        view: images.requires_grad_() for view, images in enumerate(map(torch.clone, first_batch))
    }
    seen = []
    learner.encoder.blocks["stem"].register_forward_hook(
        lambda m, x, y: seen.append(y.requires_grad)
    )
    output = learner(batch)
    output.objective.backward()
    assert seen == [True, False]
    assert batch[0].grad is not None
    assert batch[1].grad is None
    counts = [
        m.num_batches_tracked.item()
        for m in learner.encoder.modules()
        if hasattr(m, "num_batches_tracked")
    ]
    assert set(counts) == {1}, "the statistics of BatchNorm know the first view alone"


def test_the_predictor_of_simsiam_keeps_its_learning_rate():
    spec = resolved(method__name="simsiam", schedule__warmup_epochs=1).pretrain
    trainer = Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))
    peak = 0.12 * 32 / 256
    predictor = {id(p) for p in trainer.learner.method.predictor.parameters()}
    trainer.load_state_dict(trainer.state_dict())  # which replaces the groups of the optimiser
    seen = []
    for step in (0, 3, 6, 9, 11):
        trainer._lr.set(step)
        for group in trainer._optimizer.param_groups:
            inside = {id(p) in predictor for p in group["params"]}
            assert len(inside) == 1
            if inside == {True}:
                assert group["lr"] == pytest.approx(peak)
            else:
                seen.append(group["lr"])
    assert min(seen) < 0.1 * peak
    assert max(seen) == pytest.approx(peak)


def test_a_method_without_a_target_refuses_a_scope():
    with pytest.raises(
        SpecError, match="diet has no target network: EMA scope projector"
    ) as caught:
        resolved(method__name="diet", ema__scope="projector")
    assert caught.value.hint == "use --ema-scope none for it"


def test_the_random_method_is_never_trained(tmp_path):
    spec = resolved(method__name="random", epochs=7)
    assert spec.pretrain.epochs == 0
    outcome, points = train(spec, tmp_path)
    assert points == []
    assert outcome.cost.train_s is None


@pytest.mark.parametrize(("method", "labels"), [("diet", "indices"), ("supervised", "labels")])
def test_a_classifier_learns_its_labels(monkeypatch, method, labels):
    spec = resolved(method__name=method).pretrain
    trainer = Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))
    batch = next(trainer.loader.epoch(0))
    seen = []
    loss = type(trainer.learner.method).loss
    monkeypatch.setattr(
        type(trainer.learner.method), "loss", lambda *a: (seen.append(a[2]), loss(*a))[1]
    )
    trainer.train_step(batch)
    ((target,),) = seen
    assert torch.equal(target, getattr(batch, labels))


@pytest.mark.parametrize("scope", ["none", "from:layer4"])
def test_what_is_watched_changes_no_weight(tmp_path, scope):
    watched = {"monitors__gradient_every": 2, "monitors__representation_images": 64}
    blind = {"monitors__gradient_every": None, "monitors__representation_images": 0}
    outcomes = {}
    for name, monitors in (("watched", watched), ("blind", blind)):
        spec = resolved(ema__scope=scope, **monitors)
        outcomes[name], points = train(spec, tmp_path / name)
        names = {point.name for point in points}
        seen = {"embedding_std", "grad_norm:layer4", "grad_cosine_sd:projector"} <= names
        assert seen == (name == "watched")
        assert ("target_gap" in names) == (seen and scope != "none")
    states = [load_file(tmp_path / name / "online.safetensors") for name in outcomes]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    watched_results, blind_results = (outcomes[name].results for name in ("watched", "blind"))
    assert watched_results["online_top1"] == blind_results["online_top1"]
    assert set(watched_results) - set(blind_results) >= {"embedding_std", "effective_rank"}
