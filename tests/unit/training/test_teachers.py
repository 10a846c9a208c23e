"""A stale teacher, a decay for another batch, a fast predictor, and an average for evaluation."""

import copy
import math

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from emabench import experiment
from emabench.cost.meter import CostMeter
from emabench.data.augmentation.augment import normalize
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.ema import DecaySchedule
from emabench.errors import InterruptedRunError, SpecError
from emabench.evaluation.weights_file import load_weights
from emabench.networks.backbone import build_backbone
from emabench.spec import EmaSpec, ExperimentSpec
from emabench.spec.settings import experiments
from emabench.spec.streams import derive
from emabench.testing import check_steps
from emabench.training.trainer import Trainer

CPU = Device(torch.device("cpu"), "fp32")


def planned(**fields):
    axes = [(path.replace("__", "."), [value]) for path, value in fields.items()]
    axes += [("pretrain.threads", [1]), ("pretrain.precision", ["fp32"])]
    (spec,) = experiments(axes, preset="smoke")
    return experiment.resolve(spec, command="emabench run")


def pretrain_spec(**fields):
    named = {f"pretrain__{path}": value for path, value in fields.items()}
    return ExperimentSpec.parse(planned(**named).spec).pretrain


def trainer_of(spec):
    return Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))


def steps(trainer, count):
    trainer.start(0)
    batches = trainer.endless()
    for _ in range(count):
        trainer.train_step(next(batches))
        yield trainer.step


def weights_of(module):
    return [p.detach().clone() for p in module.parameters()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_stale_teacher_is_that_of_a_textbook_loop():
    spec = pretrain_spec(
        method__name="byol",
        ema__scope="full",
        ema__every=3,
        ema__decay=0.7,
        ema__schedule="constant",
    )
    trainer = trainer_of(spec)
    target = trainer.learner.target
    textbook = weights_of(target.copies)
    for step in steps(trainer, 7):
        if step % 3 == 0:
            online = weights_of(trainer.learner.encoder)
            textbook = [0.7 * old + 0.3 * new for old, new in zip(textbook, online, strict=True)]
        for mine, expected in zip(target.copies.parameters(), textbook, strict=True):
            torch.testing.assert_close(mine.detach(), expected)


def test_a_teacher_of_the_epoch_before_copies_at_its_end():
    spec = pretrain_spec(
        method__name="moco", ema__scope="full", ema__every="epoch", ema__decay=0.0,
        ema__schedule="constant",
    )  # fmt: skip
    trainer = trainer_of(spec)
    start = weights_of(trainer.learner.target.copies)
    per_epoch = trainer.steps_per_epoch
    for step in steps(trainer, per_epoch):
        assert equal(weights_of(trainer.learner.target.copies), start) is (step < per_epoch)
    assert equal(weights_of(trainer.learner.target.copies), weights_of(trainer.learner.encoder))


def test_a_stopped_training_with_a_stale_teacher_and_an_average_goes_on_exactly(tmp_path):
    plan = planned(
        pretrain__method__name="simclr", pretrain__ema__scope="full", pretrain__ema__every=4,
        pretrain__ema__evaluation_decay=0.8,
    )  # fmt: skip
    spec = ExperimentSpec.parse(plan.spec).pretrain

    def train(folder, *, stop=lambda: False, earlier=()):
        points = []
        experiment.pretrain(
            spec, folder=tmp_path / folder, earlier=earlier, on_event=lambda event: None,
            record=points.extend, stop=stop, meter=CostMeter(CPU),
        )  # fmt: skip
        return points

    whole = train("whole")
    asked = iter(range(10_000))
    with pytest.raises(InterruptedRunError):
        train("one", stop=lambda: next(asked) + 1 >= 6)
    points = train("two", earlier=[tmp_path / "one"])
    assert points == whole[-len(points) :]
    for name in ("online", "target", "average"):
        one, two = (tmp_path / f / f"{name}.safetensors" for f in ("whole", "two"))
        assert one.read_bytes() == two.read_bytes(), name


@pytest.mark.parametrize("scope", ["none", "full"])
def test_an_average_for_evaluation_is_torchs_and_changes_no_bit_of_the_training(tmp_path, scope):
    fields = {"method__name": "simclr", "ema__scope": scope}
    plain = trainer_of(pretrain_spec(**fields))
    trainer = trainer_of(pretrain_spec(**fields, ema__evaluation_decay=0.6))
    oracle = AveragedModel(
        copy.deepcopy(trainer.learner.backbone[0].model), multi_avg_fn=get_ema_multi_avg_fn(0.6)
    )
    for _ in zip(steps(trainer, 5), steps(plain, 5), strict=True):
        oracle.update_parameters(trainer.learner.backbone[0].model)
    assert equal(weights_of(plain.learner.encoder), weights_of(trainer.learner.encoder))
    assert equal(weights_of(plain.learner.target), weights_of(trainer.learner.target))
    average = trainer.average()
    assert equal(weights_of(average), weights_of(oracle.module))
    kept = planned(**{f"pretrain__{name}": value for name, value in fields.items()},
                   pretrain__ema__evaluation_decay=0.6)  # fmt: skip
    check_steps(ExperimentSpec.parse(kept.spec), frozenset(trainer.learner.target.copies))

    # Its statistics are those of the training images in whole batches: each counts the same.
    data, size = load_dataset(trainer._spec.data), trainer._spec.batch_size
    order = torch.randperm(
        len(data.train),
        generator=torch.Generator().manual_seed(derive(trainer._spec.seed, "average")),
    )
    images = torch.from_numpy(data.train.take(order.numpy()).images[:])
    inputs = []
    norm = next(m for m in average.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    average.train()
    with torch.no_grad():
        for batch in images.split(size)[: len(images) // size]:
            average(normalize(batch, data.mean, data.std))
    means = torch.stack([each.mean(dim=(0, 2, 3)) for each in inputs]).mean(dim=0)
    settled = trainer.average()
    norm = next(m for m in settled.modules() if isinstance(m, torch.nn.BatchNorm2d))
    torch.testing.assert_close(norm.running_mean, means)


def test_the_average_is_evaluated_where_it_is_asked_for(tmp_path):
    plan = planned(
        pretrain__ema__evaluation_decay=0.5,
        evaluation__network="average",
        pretrain__method__name="simclr",
    )
    spec = ExperimentSpec.parse(plan.spec)
    experiment.pretrain(
        spec.pretrain, folder=tmp_path, on_event=lambda event: None, record=list,
        stop=lambda: False, meter=CostMeter(CPU),
    )  # fmt: skip
    files = {name: tmp_path / f"{name}.safetensors" for name in ("online", "average")}
    assert not torch.equal(*(load_file(file)["conv1.weight"] for file in files.values()))
    backbone = build_backbone(spec.pretrain.backbone, 28)
    load_weights(files["average"], backbone.model, backbone=backbone.name)
    outcome = experiment.evaluate(
        spec, weights=files["average"], on_event=lambda event: None, meter=CostMeter(CPU)
    )
    assert outcome.results["top1"] > 0


def test_an_average_that_is_not_kept_is_not_evaluated():
    with pytest.raises(SpecError, match="no average is kept"):
        planned(evaluation__network="average")


def test_the_predictor_learns_at_its_own_rate():
    fields = {"method__name": "byol", "schedule__warmup_epochs": 1.0}
    trainer = trainer_of(pretrain_spec(**fields, optimizer__predictor_lr=10.0))
    plain = trainer_of(pretrain_spec(**fields))
    predictor = {id(p) for p in trainer.learner.method.predictor.parameters()}
    for _ in zip(steps(trainer, 3), steps(plain, 3), strict=True):
        (rate,) = {group["lr"] for group in plain._optimizer.param_groups}
        for group in trainer._optimizer.param_groups:
            own = {id(p) in predictor for p in group["params"]}
            assert len(own) == 1
            assert group["lr"] == pytest.approx(10 * rate if own == {True} else rate)


def test_the_constant_rate_of_a_predictor_is_multiplied_too():
    trainer = trainer_of(pretrain_spec(method__name="simsiam", optimizer__predictor_lr=4.0))
    peak = trainer._lr._peak
    rates = [{group["lr"] for group in trainer._optimizer.param_groups} for _ in steps(trainer, 9)]
    assert all(4 * peak in each for each in rates)
    assert min(rates[-1]) < peak


def test_a_method_without_predictor_has_none_that_learns_faster():
    with pytest.raises(SpecError, match="method simclr has no predictor"):
        planned(pretrain__method__name="simclr", pretrain__optimizer__predictor_lr=2.0)


def test_the_weight_decay_moves_along_a_cosine_for_those_that_have_one():
    trainer = trainer_of(
        pretrain_spec(
            method__name="dino", optimizer__name="adamw", optimizer__weight_decay=0.04,
            optimizer__final_weight_decay=0.4, optimizer__decay_bias_and_norm=False,
        )
    )  # fmt: skip
    last = trainer.total_steps - 1
    for step in steps(trainer, trainer.total_steps):
        value = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * (step - 1) / last))
        found = {
            all(p.ndim > 1 for p in group["params"]): group["weight_decay"]
            for group in trainer._optimizer.param_groups
        }
        assert found == {True: pytest.approx(value), False: 0.0}
    assert value == pytest.approx(0.4)


def test_a_decay_for_another_batch_is_raised_to_the_ratio():
    spec = EmaSpec(decay=0.9, final_decay=1.0, schedule="cosine", decay_batch=256)
    plain = spec.model_copy(update={"decay_batch": None})
    for step in (0, 50, 100):
        once = DecaySchedule(plain, 101, 64)(step)
        assert DecaySchedule(spec, 101, 64)(step) == pytest.approx(once**0.25)
        assert DecaySchedule(spec, 101, 256)(step) == once
        assert DecaySchedule(spec, 101, 512)(step) == pytest.approx(once**2)


def test_what_was_added_and_is_not_asked_for_changes_no_identity():
    plain = planned()
    assert "every" not in plain.spec["pretrain"]["ema"]
    assert planned(pretrain__ema__every=1).fingerprint == plain.fingerprint
    others = [
        planned(pretrain__ema__every=2),
        planned(pretrain__ema__every="epoch"),
        planned(pretrain__ema__decay_batch=64),
        planned(pretrain__ema__evaluation_decay=0.9),
        planned(pretrain__method__name="byol", pretrain__optimizer__predictor_lr=2.0),
    ]
    assert len({plan.fingerprint for plan in (plain, *others)}) == 6


def test_a_stale_copy_under_the_cosine_is_refused():
    with pytest.raises(SpecError, match=r"set ema\.schedule=constant"):
        planned(pretrain__ema__every=2, pretrain__ema__decay=0.0)
