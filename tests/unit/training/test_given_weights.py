"""Trainings that start from weights, or have a frozen teacher."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import load_file, save_file

from emabench import experiment
from emabench.artifacts.layout import PROJECTOR_FILE, attempt_folder
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.errors import NotFoundError, SpecError, WeightsError
from emabench.events import Notice
from emabench.jobs.bench import resolve_bench
from emabench.jobs.scope_costs import scope_costs
from emabench.networks import hub
from emabench.spec import BenchSpec, EmaSpec, ExperimentSpec
from emabench.spec.pretrain import given_runs
from emabench.spec.settings import experiments
from emabench.training.given_weights import KeptWeights, given_weights
from emabench.training.trainer import Trainer

CPU = Device(torch.device("cpu"), "fp32")
RUN = "0123456789ab"


def raw(**fields):
    given = {f"pretrain.{path.replace('__', '.')}": value for path, value in fields.items()}
    given |= {"pretrain.threads": 1, "pretrain.precision": "fp32", "pretrain.device": "cpu"}
    (spec,) = experiments([(path, [value]) for path, value in given.items()], preset="smoke")
    return spec


def pretrain(plan, folder):
    spec = ExperimentSpec.parse(plan.spec).pretrain
    experiment.pretrain(
        spec, folder=folder, on_event=lambda event: None, record=list, stop=lambda: False,
        meter=CostMeter(CPU),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of all artefacts, with what one run of two steps left behind."""
    root = tmp_path_factory.mktemp("artifacts")
    plan = experiment.resolve(raw(method__name="simclr", max_steps=2, seed=5), command="")
    folder = attempt_folder(root, RUN, 1)
    folder.mkdir(parents=True)
    pretrain(plan, folder)
    return root


@pytest.fixture
def root(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "artifacts")


@pytest.fixture
def file(root):
    return attempt_folder(root, RUN, 1) / "online.safetensors"


@pytest.fixture
def planned(root):
    def run_id(text):
        assert text in ("@last", RUN)
        return RUN

    def call(notes=None, **fields):
        heard = [] if notes is None else notes
        return experiment.resolve(
            raw(**fields),
            command="emabench run",
            kept=KeptWeights(root, run_id),
            on_event=lambda e: heard.append(e.message) if isinstance(e, Notice) else None,
        )

    return call


def trainer_of(plan, root):
    spec = ExperimentSpec.parse(plan.spec).pretrain
    given = given_weights(spec, plan.identity, artifacts=root)
    return Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU), given=given)


def first_loss(trainer):
    trainer.start(0)
    return trainer.train_step(next(trainer.endless())).item()


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def spoil(file):
    state = load_file(file)
    save_file({name: value + 1 for name, value in state.items()}, file)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "scope", ["full", pytest.param("none", marks=SLOW), pytest.param("layer2", marks=SLOW)]
)
def test_the_first_loss_is_that_of_the_network_that_was_loaded(planned, root, file, scope):
    fields = {"method__name": "simclr", "ema__scope": scope}
    trainer = trainer_of(planned(init="@last", **fields), root)
    by_hand = trainer_of(planned(**fields), root)
    fresh = trainer_of(planned(**fields), root)
    weights = load_file(file)
    assert equal(trainer.learner.backbone[0].model.state_dict(), weights)
    for name, copy in trainer.learner.target.copies.items():
        assert equal(copy.state_dict(), trainer.learner.encoder.blocks[name].state_dict())

    learner = by_hand.learner
    learner.backbone[0].model.load_state_dict(weights)
    learner.target.update(0.0)
    loss = first_loss(trainer)
    assert loss == first_loss(by_hand)
    assert loss != first_loss(fresh)


def test_the_digest_and_not_the_place_of_the_weights_is_the_identity(planned, file, tmp_path):
    plain = planned()
    assert "init" not in plain.spec["pretrain"]
    assert "init" not in plain.identity
    elsewhere = tmp_path / "copy.safetensors"
    shutil.copy(file, elsewhere)
    plans = [planned(init=text) for text in ("@last", RUN, str(file), str(elsewhere))]
    assert {plan.fingerprint for plan in plans} == {plans[0].fingerprint} != {plain.fingerprint}
    found = [plan.spec["pretrain"]["init"] for plan in plans]
    assert found == [RUN, RUN, str(file), str(elsewhere)]
    assert [given_runs(plan.spec["pretrain"]) for plan in plans] == [(RUN,), (RUN,), (), ()]
    assert plans[0].command == f"emabench run --set init={RUN}"
    assert plans[1].command == plans[2].command == "emabench run"
    keys = {ExperimentSpec.parse(plan.spec).pretrain.training_key() for plan in plans}
    assert len(keys) == 1, "where they lie does not matter to a checkpoint"
    spoil(elsewhere)
    assert planned(init=str(elsewhere)).fingerprint != plans[0].fingerprint


@pytest.mark.parametrize("field", ["init", "ema__teacher"])
@pytest.mark.parametrize("name", ["online.safetensors", PROJECTOR_FILE])
def test_a_job_fails_where_the_weights_are_others_than_planned(planned, root, file, field, name):
    plan = planned(ema__scope="full", **{field: RUN})
    trainer_of(plan, root)
    spoil(file.with_name(name))
    if (field, name) == ("init", PROJECTOR_FILE):
        trainer_of(plan, root)  # it takes the backbone alone
        return
    with pytest.raises(WeightsError, match="not those that the run was queued for"):
        trainer_of(plan, root)
    shutil.rmtree(root / RUN)
    with pytest.raises(WeightsError, match="has no weights"):
        trainer_of(plan, root)


@pytest.mark.parametrize("field", ["init", "ema__teacher"])
def test_weights_of_another_backbone_are_refused(planned, field):
    other = {"backbone__options": {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32]}}
    with pytest.raises(WeightsError, match="does not fit the backbone resnet18"):
        planned(ema__scope="full", **other, **{field: RUN})


@pytest.mark.parametrize("text", ["nothing.safetensors", "./nothing"])
def test_weights_that_are_not_there_are_told(planned, text):
    with pytest.raises(NotFoundError, match="there is no file"):
        planned(init=text)
    with pytest.raises(NotFoundError, match="there is no file abc"):
        experiment.resolve(raw(init="abc"), command="")


@pytest.fixture
def hub_requests(tmp_path, monkeypatch):
    """The files that a hub is asked for; it has nothing, and the cache is a folder of its own."""
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            if "/resolve/" in self.path:  # the client has questions of its own
                asked.append(self.path)
            self.send_error(404)

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        place = f"http://127.0.0.1:{server.server_port}"
        for name, value in {
            "ENDPOINT": place,
            "HUGGINGFACE_CO_URL_TEMPLATE": f"{place}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        yield asked
        server.shutdown()
        thread.join()


def test_the_hub_is_asked_for_what_its_cache_lacks_alone(
    planned, root, file, tmp_path, hub_requests
):
    kept = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    for path in ("refs", "snapshots/abc"):
        (kept / path).mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    shutil.copy(file, kept / "snapshots" / "abc" / "model.safetensors")
    plan = planned(init="timm")
    assert plan.spec["pretrain"]["init"] == "timm"
    assert plan.fingerprint == planned(init=RUN).fingerprint
    assert equal(trainer_of(plan, root).learner.backbone[0].model.state_dict(), load_file(file))
    with pytest.raises(NotFoundError, match="no pretrained weights of backbone pixels"):
        hub.hub_file("pixels")
    assert hub_requests == []
    with pytest.raises(NotFoundError, match=r"cannot get the weights timm/resnet34.*from the hub"):
        hub.hub_file("resnet34")
    assert "/timm/resnet34.a1_in1k/resolve/main/model.safetensors" in hub_requests


@pytest.mark.parametrize(
    "method", ["byol", pytest.param("simclr", marks=SLOW), pytest.param("dino", marks=SLOW)]
)
def test_the_targets_of_a_frozen_teacher_are_those_of_its_network_and_nothing_moves(
    planned, root, file, method
):
    heads = planned(method__name=method)
    folder = attempt_folder(root, RUN, 2)
    folder.mkdir()
    pretrain(heads, folder)
    notes = []
    plan = planned(notes, method__name=method, ema__scope="full", ema__teacher="@last")
    assert any("run in eval mode and never moves" in note for note in notes)
    trainer = trainer_of(plan, root)
    target = trainer.learner.target
    teacher = trainer_of(heads, root).learner.encoder
    projector = load_file(folder / PROJECTOR_FILE)
    teacher.blocks["projector"].load_state_dict(projector)
    for name, block in trainer_of(planned(init=RUN), root).learner.backbone[0].blocks.items():
        teacher.blocks[name].load_state_dict(block.state_dict())
    teacher.eval()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    trainer.start(0)
    batches = trainer.endless()
    for _ in range(3):
        trainer.train_step(next(batches))
    assert equal(target.state_dict(), before)
    assert not any(module.training for module in target.modules())
    images = torch.rand(5, 3, 28, 28)
    with torch.no_grad():
        expected = teacher(images)[-1]
        torch.testing.assert_close(target([images] + [images] * 6), expected)
        torch.testing.assert_close(target([images[:1]] * 7), expected[:1])
    assert trainer.learner.update_bytes(1) == 0
    assert trainer.learner.ema_bytes > 0


def test_a_frozen_teacher_makes_decay_and_schedule_the_same(planned, root):
    plans = [
        planned(ema__scope="full", ema__teacher=RUN, ema__decay=decay, ema__every=every)
        for decay, every in ((0.9, 1), (0.99, 2))
    ]
    assert plans[0].fingerprint == plans[1].fingerprint
    ema = plans[0].spec["pretrain"]["ema"]
    assert (ema["decay"], ema["schedule"], ema["teacher"]) == (1.0, "constant", RUN)
    assert "every" not in ema
    assert plans[0].identity["teacher"] != planned(init=RUN).identity["init"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ema__scope": "projector"}, "shares stem, layer1, layer2, layer3, layer4 with"),
        ({"ema__scope": "backbone"}, "shares projector with the online network"),
        ({"ema__scope": "none"}, "shares stem"),
        ({"ema__scope": "full", "method__name": "byol"}, "the projector of run .* is another"),
    ],
)
def test_what_cannot_be_a_frozen_teacher_is_refused(planned, fields, words):
    fields = {"method__name": "simclr"} | fields
    with pytest.raises((SpecError, WeightsError), match=words):
        planned(ema__teacher=RUN, **fields)


def test_a_file_or_a_run_of_an_earlier_version_has_no_projector(planned, file):
    with pytest.raises(SpecError, match="the teacher needs a projector too"):
        planned(ema__scope="full", ema__teacher=str(file))
    file.with_name(PROJECTOR_FILE).unlink()
    with pytest.raises(WeightsError, match="kept no projector"):
        planned(ema__scope="full", ema__teacher=RUN)


def test_a_bench_and_a_cost_take_fresh_weights_and_no_frozen_teacher():
    bench = BenchSpec(arms=(EmaSpec(scope="none"),), steps=2)
    spec = raw(init="abc").model_copy(update={"bench": bench})
    assert "init" not in resolve_bench(spec, command="").spec["pretrain"]
    (cost,) = scope_costs(raw(init="abc"), ["none"], command="")
    assert "init" not in cost.plan.spec["pretrain"]
    frozen = EmaSpec(scope="full", teacher="abc")
    with pytest.raises(SpecError, match="a frozen teacher has no scopes"):
        scope_costs(raw(ema__teacher="abc"), ["full"], command="")
    with pytest.raises(SpecError, match="a frozen teacher has no scopes"):
        resolve_bench(
            raw().model_copy(update={"bench": BenchSpec(arms=(frozen,), steps=2)}), command=""
        )
