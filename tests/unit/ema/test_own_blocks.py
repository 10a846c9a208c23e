"""A target network on blocks of one's own: what it takes, what it refuses, what it is linked to."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import emabench
from emabench.errors import SpecError, UnknownNameError, UsageError

SCOPES = ["none", "head", "from:middle", "stem+head", "full"]


def make_blocks():
    torch.manual_seed(0)
    return {
        "stem": nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)),
        "middle": nn.Sequential(nn.ReLU(), nn.Linear(6, 6)),
        "head": nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2)),
    }


def step(modules):
    """Move weights and statistics, as a training step would."""
    with torch.no_grad():
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.add_(1)


@pytest.mark.parametrize("wrap", [dict, nn.ModuleDict, emabench.Encoder, lambda b: list(b.items())])
def test_blocks_come_as_an_encoder_or_as_a_mapping(wrap):
    blocks = wrap(make_blocks())
    if isinstance(blocks, list):
        with pytest.raises(UsageError, match="named blocks are needed, not a list"):
            emabench.TargetNetwork(blocks, "full")
    else:
        target = emabench.TargetNetwork(blocks, "from:middle")
        assert target.scope == emabench.EmaScope.parse("from:middle", ["stem", "middle", "head"])
        assert list(target.copies) == ["middle", "head"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        *(((name,), "could not write it") for name in ("", "a.b", "a+b", "from:a", " a", "a ", 3)),
        *(((name,), "that is an EMA scope") for name in ("none", "full", "encoder")),
        *(((name,), "ModuleDict has that attribute") for name in ("keys", "training", "forward")),
        (("backbone", "neck", "projector"), "all blocks but the projector"),
        ((), "needs a block"),
    ],
)
def test_names_that_a_scope_cannot_tell_apart_are_refused(names, words):
    blocks = {name: nn.Linear(2, 2) for name in names}
    with pytest.raises(UsageError, match=words) as refused:
        emabench.TargetNetwork(blocks, "none")
    assert "\n" not in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("names", [("backbone", "projector"), ("backbone",), ("a", "layer4_x-2 b")])
def test_other_names_can_be_scopes(names):
    target = emabench.TargetNetwork({name: nn.Linear(2, 2) for name in names}, names[-1])
    assert target.scope.averaged == names[-1:]


@pytest.mark.parametrize("blocks", [("a", "a"), ("a.b",), ("full",)])
def test_a_scope_of_such_names_is_refused_too(blocks):
    for make in (
        lambda: emabench.EmaScope(blocks, ()),
        lambda: emabench.EmaScope.parse("none", blocks),
    ):
        with pytest.raises(UsageError):
            make()


def test_a_scope_averages_blocks_in_their_order():
    for averaged in (("b", "a"), ("c",), ("a", "a")):
        with pytest.raises(UsageError, match="are not blocks among"):
            emabench.EmaScope(("a", "b"), averaged)


class Cached(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.last = self.weight * 2


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("make", "words", "hint"),
    [
        (lambda: nn.utils.weight_norm(nn.Linear(2, 2)), "cannot be copied", "parametrizations"),
        (Cached, "cannot be copied", "computed tensors"),
        (lambda: nn.LazyLinear(2), "has no weights yet", "run the encoder"),
        (lambda: 3, "is a int", "nn.Module"),
    ],
)
def test_blocks_that_cannot_be_copied_are_refused(make, words, hint):
    with pytest.raises(UsageError, match=f"block 'head'.*{words}") as refused:
        emabench.TargetNetwork({"stem": nn.Linear(2, 2), "head": make()}, "head")
    assert "\n" not in refused.value.message
    assert hint in refused.value.hint


def test_weight_norm_as_a_parametrisation_and_a_lazy_block_outside_the_scope_are_taken():
    blocks = {
        "stem": nn.LazyLinear(2),
        "head": nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    }
    target = emabench.TargetNetwork(blocks, "head")
    encoder = emabench.Encoder(blocks)
    activations = encoder(torch.randn(3, 4))
    torch.testing.assert_close(target(activations), activations[-1].detach())


def test_one_module_has_one_name():
    layer = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="blocks 'a' and 'b' are one module"):
        emabench.Encoder({"a": layer, "b": layer})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"scope": "haed"}, UnknownNameError),
        ({"scope": "none+head"}, SpecError),
        ({"scope": emabench.EmaScope(("stem", "head"), ("head",))}, UsageError),
        ({"scope": "head", "buffers": "mine"}, UnknownNameError),
    ],
)
def test_wrong_arguments_are_explained(arguments, error):
    with pytest.raises(error) as refused:
        emabench.TargetNetwork(make_blocks(), **arguments)
    assert refused.value.hint


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_outside_0_and_1_is_refused(decay):
    target = emabench.TargetNetwork(make_blocks(), "head")
    before = copy.deepcopy(target.state_dict())
    with pytest.raises(UsageError, match="not within 0 and 1"):
        target.update(decay)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_activations_of_another_number_are_refused():
    encoder = emabench.Encoder(make_blocks())
    target = emabench.TargetNetwork(encoder, "head")
    with pytest.raises(UsageError, match="3 activations do not belong to 3 blocks"):
        target(encoder(torch.randn(3, 4))[1:])


def test_a_block_that_changes_its_input_or_gives_no_tensor_is_refused():
    views = torch.randn(3, 4)
    for last in (nn.ReLU(inplace=True), nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True))):
        with pytest.raises(UsageError, match="block 'b' changes its input"):
            emabench.Encoder({"a": nn.Linear(4, 4), "b": last})(views)
    inside = emabench.Encoder({"a": nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))})
    assert len(inside(views)) == 2
    with torch.inference_mode():
        assert len(inside(views)) == 2
    with pytest.raises(UsageError, match="block 'a' gives a tuple"):
        emabench.Encoder({"a": nn.LSTM(4, 4)})(views)


@pytest.mark.parametrize("scope", SCOPES)
def test_its_state_is_that_of_the_averages(scope):
    target = emabench.TargetNetwork(make_blocks(), scope)
    state = target.state_dict()
    expected = {
        f"copies.{name}.{key}"
        for name in target.scope.averaged
        for key in make_blocks()[name].state_dict()
    }
    assert set(state) == expected
    step(target.copies.values())
    again = emabench.TargetNetwork(make_blocks(), scope)
    again.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class Model(nn.Module):
    """Holds both, the target first: a copy must not depend on which is met first."""

    def __init__(self, blocks, scope):
        super().__init__()
        self.target = emabench.TargetNetwork(blocks, scope)
        self.online = blocks if isinstance(blocks, nn.Module) else nn.ModuleDict(blocks)

    def online_block(self, name):
        return self.online.blocks[name] if hasattr(self.online, "blocks") else self.online[name]


@pytest.mark.parametrize("copied", [copy.deepcopy, saved])
@pytest.mark.parametrize("wrap", [dict, nn.ModuleDict, emabench.Encoder])
def test_a_copy_of_what_holds_both_links_the_copies(copied, wrap):
    model = Model(wrap(make_blocks()), "from:middle")
    twin = copied(model)
    before = copy.deepcopy(model.target.state_dict())
    step([twin.online_block("middle"), twin.online_block("head")])
    twin.target.update(0.0)
    for name, mine in twin.target.copies.items():
        for one, other in zip(mine.parameters(), twin.online_block(name).parameters(), strict=True):
            assert torch.equal(one, other)
    assert twin.target.block("stem") is twin.online_block("stem")
    model.target.update(0.0)
    assert all(torch.equal(v, before[k]) for k, v in model.target.state_dict().items())


def test_a_copy_of_the_target_alone_has_online_blocks_of_its_own():
    blocks = make_blocks()
    target = emabench.TargetNetwork(blocks, "head")
    twin = copy.deepcopy(target)
    before = copy.deepcopy(twin.state_dict())
    step(blocks.values())
    twin.update(0.0)
    assert all(torch.equal(value, before[key]) for key, value in twin.state_dict().items())
    target.update(0.0)
    assert torch.equal(target.copies["head"][1].weight, blocks["head"][1].weight)


@pytest.fixture
def one_process(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_ddp_and_other_wrappers_are_taken_off(one_process):
    encoder = emabench.Encoder(make_blocks())
    for wrap in (DistributedDataParallel, nn.DataParallel):
        target = emabench.TargetNetwork(wrap(encoder), "head")
        assert target.block("stem") is encoder.blocks["stem"]
    blocks = {**make_blocks(), "head": nn.DataParallel(nn.Linear(6, 2))}
    assert list(emabench.TargetNetwork(blocks, "head").state_dict()) == [
        "copies.head.weight",
        "copies.head.bias",
    ]


def test_what_fsdp_has_sharded_is_refused(one_process):
    from torch.distributed.fsdp import fully_shard

    encoder = emabench.Encoder(make_blocks())
    fully_shard(encoder.blocks["head"], mesh=torch.distributed.init_device_mesh("cpu", (1,)))
    for blocks in (encoder, dict(encoder.blocks.items())):
        with pytest.raises(UsageError, match="FSDP has sharded") as refused:
            emabench.TargetNetwork(blocks, "head")
        assert "DistributedDataParallel" in refused.value.hint


def test_the_copies_start_in_train_mode_and_follow_the_target_alone():
    encoder = emabench.Encoder(make_blocks()).eval()
    target = emabench.TargetNetwork(encoder, "full")
    assert all(module.training for module in target.copies.modules())
    target.eval()
    encoder.train()
    assert not any(module.training for module in target.copies.modules())


@pytest.mark.parametrize("mode", [True, False])
def test_an_online_block_that_runs_again_keeps_its_mode_and_its_statistics(mode):
    blocks = {"first": nn.Linear(4, 4), "second": nn.BatchNorm1d(3)}
    encoder = emabench.Encoder(blocks).train(mode)
    target = emabench.TargetNetwork(encoder, "first")
    activations = encoder(torch.randn(5, 3, 4))
    before = copy.deepcopy(blocks["second"].state_dict())
    assert torch.equal(target(activations), activations[-1])
    after = blocks["second"].state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())


def test_buffers_without_an_average_are_not_averaged():
    blocks = make_blocks()
    blocks["head"].register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    with pytest.raises(UsageError, match=r"buffer 'head\.mask' is infinite") as refused:
        emabench.TargetNetwork(blocks, "head", buffers="ema")
    assert "'own' or 'copy'" in refused.value.hint
    target = emabench.TargetNetwork(blocks, "head", buffers="copy")
    target.update(0.5)
    assert target.copies["head"].mask.tolist() == [0.0, float("-inf")]


def test_frozen_weights_stay_and_whole_numbers_are_copied():
    class Counted(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.bits = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
            self.register_buffer("count", torch.tensor(0))

    blocks = {"a": Counted(), "b": nn.Linear(2, 2).requires_grad_(False)}
    target = emabench.TargetNetwork(blocks, "full", buffers="ema")
    for decay in (0.1, 0.5, 0.996):
        target.update(decay)
        assert torch.equal(target.copies["b"].weight, blocks["b"].weight)
    step([blocks["a"]])
    target.update(0.5)
    assert target.copies["a"].bits.tolist() == [2, 3]
    assert target.copies["a"].count == 1
    torch.testing.assert_close(target.copies["a"].weight, blocks["a"].weight - 0.5)
