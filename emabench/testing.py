"""The tests that methods, data sets and backbones pass, for pytest: those of plugins too.

An author makes a subclass in a test file, and says what is tested::

    class TestSimDist(MethodContract):
        name = "simdist"
        plugin = "simdist.py"

Each test makes a few real steps on a CPU. They hold for every method; what a method means they do
not know: compare its loss with the published formula yourself.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from emabench import experiment
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.data.loader import Batch
from emabench.device import Device, bind_device
from emabench.errors import InterruptedRunError, SpecError
from emabench.extensions.named_plugins import named_plugins, with_plugins
from emabench.methods import load_method
from emabench.methods._masked import MaskedMethod
from emabench.networks.backbone import Backbone, build_backbone
from emabench.records import MetricPoint
from emabench.spec import BackboneSpec, DataSpec, ExperimentSpec
from emabench.spec.settings import experiments
from emabench.training.trainer import Trainer

SCOPES: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "projector": frozenset({"projector"}),
    "full": frozenset({"stem", "layer1", "layer2", "layer3", "layer4", "projector"}),
    "layer2": frozenset({"layer2"}),
    "from:layer4": frozenset({"layer4", "projector"}),
}
"""One EMA scope of each kind, with the blocks of the preset ``smoke`` that it averages."""
MASKED_SCOPES: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "block1": frozenset({"block1"}),
    "backbone": frozenset({"stem", "block1", "block2"}),
}
"""The same for masked methods, whose backbone there is a ViT and whose projector is none."""

_READS = (
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
)
"""What a device has to be waited for: a number, a truth value, a size that depends on values."""
_COPIES = (Tensor.tolist, Tensor.numpy, Tensor.cpu)
"""The same, by what a CPU does without an operation."""
_CPU = Device(torch.device("cpu"), "fp32")
_STOPPED_AFTER = 6


@dataclass(frozen=True)
class FirstStep:
    """The first step of a training.

    Attributes:
        loss: its loss.
        gradient_norm: the norm of the gradient of the encoder.
    """

    loss: float
    gradient_norm: float


def resolved(method: str, scope: str, **fields: Any) -> ExperimentSpec:
    """Return the resolved spec of a tiny run.

    Args:
        method: its name.
        scope: the EMA scope.
        fields: more fields of ``pretrain``, with ``__`` for a dot.
    """
    given = {"method__name": method, "ema__scope": scope, "threads": 1, "precision": "fp32"}
    given |= {"device": "cpu", **fields}
    axes = [(f"pretrain.{path.replace('__', '.')}", [value]) for path, value in given.items()]
    (spec,) = experiments(axes, preset="smoke")
    return ExperimentSpec.parse(experiment.resolve(spec, command="emabench run").spec)


def scopes_of(method: str) -> list[str]:
    """Return the scopes that a method is tried with: all, ``none`` alone, or no scope."""
    found = load_method(method)
    if not found.trains:
        return []
    return list(_scopes(method)) if found.target_views else ["none"]


def averaged_by(method: str, scope: str) -> frozenset[str]:
    """Return the blocks that one of the scopes of ``scopes_of`` averages."""
    return _scopes(method)[scope]


def _scopes(method: str) -> Mapping[str, frozenset[str]]:
    return MASKED_SCOPES if issubclass(load_method(method), MaskedMethod) else SCOPES


def check_steps(spec: ExperimentSpec, copied: frozenset[str]) -> FirstStep:
    """Make three steps: losses and gradients are finite, and just the right blocks are copied.

    From the forward pass on a step reads no value of a tensor: a GPU would have to wait for it.

    Args:
        spec: the resolved spec.
        copied: the blocks that its scope averages.

    Returns:
        What the first step was.
    """
    device = bind_device(spec.pretrain)
    trainer = Trainer(spec.pretrain, load_dataset(spec.pretrain.data), device, CostMeter(device))
    learner = trainer.learner
    assert set(learner.target.copies) == copied
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    gradients: dict[str, Tensor | None] = {}
    norms: list[Tensor] = []

    def keep_gradients(*_: Any) -> None:
        gradients.update({name: p.grad for name, p in trainer.online.named_parameters()})
        of_encoder = [p.grad for p in learner.encoder.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(of_encoder))

    trainer._optimizer.register_step_pre_hook(keep_gradients)
    batches = trainer.loader.epoch(0)
    losses = [_step_without_reads(trainer, next(batches)).item() for _ in range(3)]
    assert all(map(math.isfinite, losses)), losses
    for name, gradient in gradients.items():
        assert gradient is not None, f"{name} has no gradient"
        assert torch.isfinite(gradient).all(), f"the gradient of {name} is not finite"
    for name, parameter in learner.target.copies.named_parameters():
        assert not parameter.requires_grad, f"the copy {name} is trained"
        assert parameter.grad is None, f"the copy {name} has a gradient"
    moved = {name for name, p in learner.named_parameters() if not torch.equal(p, before[name])}
    for block in copied:
        assert any(name.startswith(f"target.copies.{block}.") for name in moved), block
    return FirstStep(losses[0], norms[0].item())


def _step_without_reads(trainer: Trainer, batch: Batch) -> Tensor:
    """Make a step; once its draws are made, on the CPU, nothing may ask for a value."""
    with ExitStack() as rest_of_the_step:

        def after_the_draws(*_: Any) -> None:
            rest_of_the_step.enter_context(_NothingIsCopied())
            rest_of_the_step.enter_context(_NothingIsRead())  # type: ignore[no-untyped-call]

        begin = trainer.learner.register_forward_pre_hook(after_the_draws)
        rest_of_the_step.callback(begin.remove)
        return trainer.train_step(batch)


class _NothingIsCopied(TorchFunctionMode):
    """Inside it no tensor is copied to Python or to the CPU, which a CPU itself does unseen."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        assert func not in _COPIES, f"a step asks for values by {func}: a GPU would have to wait"
        return func(*args, **(kwargs or {}))


class _NothingIsRead(TorchDispatchMode):
    """Inside it Python learns no value of a tensor, nor a shape that depends on values."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        assert func not in _READS, f"a step asks for values by {func}: a GPU would have to wait"
        return func(*args, **(kwargs or {}))


def check_resumption(spec: ExperimentSpec, folder: Path) -> None:
    """Stop a training and go on with it: figures and weights are those of an unbroken one.

    Args:
        spec: the resolved spec.
        folder: an empty one.
    """
    whole, whole_points = _train(spec, folder / "whole", ())
    with pytest.raises(InterruptedRunError):
        _train(spec, folder / "one", (), steps=_STOPPED_AFTER)
    results, points = _train(spec, folder / "two", (folder / "one",))
    assert results == whole
    assert points
    assert points == whole_points[-len(points) :]
    weights = [(folder / name / "online.safetensors").read_bytes() for name in ("whole", "two")]
    assert weights[0] == weights[1]


def _train(
    spec: ExperimentSpec, folder: Path, earlier: Sequence[Path], *, steps: int | None = None
) -> tuple[Mapping[str, float], list[MetricPoint]]:
    points: list[MetricPoint] = []
    made = iter(range(1, 1_000_000))
    outcome = experiment.pretrain(
        spec.pretrain,
        folder=folder,
        earlier=earlier,
        on_event=lambda event: None,
        record=points.extend,
        stop=lambda: next(made) == steps,
        meter=CostMeter(_CPU),
    )
    return outcome.results, points


class _Contract:
    """What is tested, and the plugin that has it."""

    name: ClassVar[str]
    """Of the method, the data set or the backbone."""
    plugin: ClassVar[str | None] = None
    """Its file, looked up from the folder of the test, or its module; None: it is installed."""

    @pytest.fixture(autouse=True)
    def _with_plugin(self) -> Iterator[None]:
        with self._plugged():
            yield

    @classmethod
    @contextmanager
    def _plugged(cls) -> Iterator[None]:
        if cls.plugin is None:
            yield
            return
        text = cls.plugin
        if text.endswith(".py"):
            text = str(Path(inspect.getfile(cls)).parent / text)
        with with_plugins([text, *(code.place for code in named_plugins())]):
            yield


class MethodContract(_Contract):
    """The tests of a method; a subclass gives its ``name``."""

    fields: ClassVar[Mapping[str, Any]] = {}
    """More fields of ``pretrain`` for the runs of the tests, such as options of the method:
    ``{"method.options.hidden_dim": 32}``."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run what takes a scope under each that the method has."""
        if "scope" in metafunc.fixturenames:
            with self._plugged():
                metafunc.parametrize("scope", scopes_of(self.name))

    def test_it_says_once_what_it_learns_from(self) -> None:
        """A method has targets, or predicts labels, or trains nothing."""
        method = load_method(self.name)
        sources = [bool(method.target_views), method.labels is not None, not method.trains]
        assert sum(sources) == 1
        assert method.online_views

    def test_its_options_have_defaults_and_no_other_names(self) -> None:
        """A misspelt option is an error."""
        method = load_method(self.name)
        method.parse_options(self.name, method.Options().model_dump(mode="json"))
        with pytest.raises(SpecError):
            method.parse_options(self.name, {"no_such_option": 1})

    def test_the_right_blocks_are_trained_and_copied(self, scope: str) -> None:
        """Losses and gradients are finite; the averages are of the blocks of the scope."""
        check_steps(self._spec(scope), averaged_by(self.name, scope))

    def test_all_scopes_start_alike(self) -> None:
        """The first loss is the same in every scope, and so is the norm of the gradient."""
        steps = {
            each: check_steps(self._spec(each), averaged_by(self.name, each))
            for each in scopes_of(self.name)
        }
        for scope, step in steps.items():
            assert step.loss == pytest.approx(steps["none"].loss, rel=1e-4), scope
            assert step.gradient_norm == pytest.approx(steps["none"].gradient_norm, rel=0.01), scope

    def test_a_stopped_training_goes_on_exactly(self, tmp_path: Path, scope: str) -> None:
        """What a method keeps from step to step is in its checkpoints."""
        check_resumption(self._spec(scope), tmp_path)

    def _spec(self, scope: str) -> ExperimentSpec:
        fields = {path.replace(".", "__"): value for path, value in self.fields.items()}
        return resolved(self.name, scope, **fields)


class DatasetContract(_Contract):
    """The tests of a data set; a subclass gives its ``name``."""

    data_dir: ClassVar[str | None] = None
    """The folder that it reads, if it reads one."""

    def test_it_is_the_same_each_time(self, tmp_path: Path) -> None:
        """Images, labels and content hash are, with a cache or without."""
        spec = DataSpec(dataset=self.name, data_dir=self.data_dir)
        first, second = (load_dataset(spec, cache_dir=tmp_path / each) for each in ("a", "b"))
        assert first.content_hash == second.content_hash
        for one, other in ((first.train, second.train), (first.test, second.test)):
            assert (one.labels == other.labels).all()
            rows = torch.arange(len(one)).numpy()
            assert (one.images[rows] == other.images[rows]).all()

    def test_its_images_take_any_size(self, tmp_path: Path) -> None:
        """The content hash does not depend on the size."""
        sizes = {}
        for size in (None, 12, 20):
            spec = DataSpec(dataset=self.name, data_dir=self.data_dir, image_size=size)
            data = load_dataset(spec, cache_dir=tmp_path)
            rows = torch.arange(2).numpy()
            assert data.train.images[rows].shape == (2, data.image_size, data.image_size, 3)
            sizes[size] = data.content_hash
        assert len(set(sizes.values())) == 1

    def test_every_class_has_images(self, tmp_path: Path) -> None:
        """A class without training images cannot be learned."""
        spec = DataSpec(dataset=self.name, data_dir=self.data_dir)
        data = load_dataset(spec, cache_dir=tmp_path)
        assert set(data.train.labels.tolist()) == set(range(len(data.classes)))
        assert set(data.test.labels.tolist()) <= set(range(len(data.classes)))


class BackboneContract(_Contract):
    """The tests of a backbone; a subclass gives its ``name``."""

    image_size: ClassVar[int] = 32
    """Side of the images in pixels."""
    options: ClassVar[Mapping[str, Any]] = {}
    """``backbone.options``."""

    def test_it_gives_one_vector_an_image(self) -> None:
        """Finite features, of images one by one or together."""
        backbone = self._built()
        images = torch.rand(3, 3, self.image_size, self.image_size)
        with torch.no_grad():
            features = backbone.model.eval()(images)
            alone = backbone.model(images[:1])
        assert features.shape == (3, backbone.feature_dim)
        assert torch.isfinite(features).all()
        assert torch.allclose(features[:1], alone, rtol=1e-3, atol=1e-4)

    def test_its_blocks_one_after_another_are_the_model(self) -> None:
        """Cut or not, it computes the same, and no weight belongs to two blocks."""
        backbone = self._built()
        images = torch.rand(2, 3, self.image_size, self.image_size)
        with torch.no_grad():
            features, activation = backbone.model.eval()(images), images
            for block in backbone.blocks.eval().values():
                activation = block(activation)
        assert torch.allclose(features, activation, rtol=1e-3, atol=1e-4)
        of_blocks = [id(p) for block in backbone.blocks.values() for p in block.parameters()]
        assert sorted(of_blocks) == sorted(id(p) for p in backbone.model.parameters())

    def test_it_is_trained_under_every_suffix_of_its_blocks(self) -> None:
        """SimCLR makes a few steps with each scope that it has."""
        names = [*self._built().block_names, "projector"]
        fields = {
            "backbone__name": self.name,
            "backbone__options": dict(self.options),
            "data__image_size": self.image_size,
        }
        check_steps(resolved("simclr", "none", **fields), frozenset())
        for start in range(len(names)):
            spec = resolved("simclr", f"from:{names[start]}", **fields)
            check_steps(spec, frozenset(names[start:]))

    def _built(self) -> Backbone:
        spec = BackboneSpec(name=self.name, options=dict(self.options))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_backbone(spec, self.image_size)
