"""Weights that a training is given: those it starts from, and those of its frozen teacher.

They lie in a file of the user, or in the folder of a finished run, or the hub has them. What a spec
names is looked up twice: when the run is planned, and when its job starts.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from emabench.artifacts.layout import PROJECTOR_FILE
from emabench.data.places import given_path
from emabench.errors import NotFoundError, SpecError, WeightsError
from emabench.evaluation.weights_file import digest, load_weights, read_header
from emabench.methods._method import Method
from emabench.networks.backbone import Backbone, build_backbone
from emabench.networks.hub import hub_file
from emabench.spec import BackboneSpec, EmaScope, PretrainSpec, SpecModel
from emabench.spec.grid import typed
from emabench.spec.pretrain import GIVEN, HUB
from emabench.spec.scope import PROJECTOR
from emabench.training.weights import weights_file


@dataclass(frozen=True)
class KeptWeights:
    """The weights that finished runs left behind.

    Attributes:
        folder: of all artefacts.
        run_id: gives the complete id of the run that a user means; raises if there is none.
    """

    folder: Path
    run_id: Callable[[str], str]


@dataclass(frozen=True)
class GivenWeights:
    """Weights that lie at hand.

    Attributes:
        reference: what a resolved spec calls them: the id of a run, an absolute path, or ``timm``.
        backbone: file of the backbone.
        projector: file of the projector, for those of a run that kept it.
    """

    reference: str
    backbone: Path
    projector: Path | None = None

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of the file, or of the digests of both.

        They tell arms apart in tables, where 64 have no room.
        """
        found = digest(self.backbone)
        if self.projector is not None:
            found = hashlib.sha256((found + digest(self.projector)).encode()).hexdigest()
        return found[:16]


@dataclass(frozen=True)
class Given:
    """All that a training is given.

    Attributes:
        init: weights that the backbone starts from; None: fresh ones.
        teacher: weights of the frozen teacher; None: there is none.
    """

    init: GivenWeights | None = None
    teacher: GivenWeights | None = None

    def digests(self) -> dict[str, str]:
        """Return the digests by name, as an identity holds them."""
        both = {"init": self.init, "teacher": self.teacher}
        return {name: each.digest for name, each in both.items() if each is not None}

    def in_command(self, command: str, spec: PretrainSpec) -> str:
        """Return a command that names them as the resolved spec does: ``@last`` is soon another.

        Args:
            command: as the user gave it.
            spec: what it means.
        """
        for field, asked, given in (
            ("init", spec.init, self.init),
            ("ema.teacher", spec.ema.teacher, self.teacher),
        ):
            if given is not None and given.reference != asked:
                value = f"{field}={typed(given.reference, as_text=True)}"
                command = f"{command} --set {shlex.quote(value)}"
        return command


NOTHING: Given = Given()


def find_given(
    spec: PretrainSpec,
    method: type[Method],
    options: SpecModel,
    backbone: Backbone,
    image_size: int,
    scope: EmaScope,
    kept: KeptWeights | None,
) -> Given:
    """Find the weights that a pretraining is given, and find out whether they fit.

    Raises:
        SpecError: the scope has no frozen teacher.
        NotFoundError: they are not there.
        WeightsError: they do not fit.
    """
    init = teacher = None
    if spec.init is not None:
        init = find_init(spec.init, backbone.name, kept)
        load_weights(init.backbone, backbone.model, backbone=backbone.name)
    if spec.ema.teacher is not None:
        with torch.random.fork_rng(devices=[]):
            projector = method.build_projector(options, backbone.feature_dim)
        check_scope(scope, backbone, projector)
        projects = bool(projector.state_dict())
        teacher = find_teacher(spec.ema.teacher, kept, projects=projects)
        blocks = nn.ModuleDict({**backbone.blocks, PROJECTOR: projector})
        load_teacher(teacher, spec.backbone, image_size, blocks)
    return Given(init, teacher)


def given_weights(spec: PretrainSpec, digests: Mapping[str, str], *, artifacts: Path) -> Given:
    """Return the weights that a resolved spec names, if they are still those of its identity.

    Args:
        spec: the resolved spec.
        digests: of ``init`` and ``teacher``, as its identity has them.
        artifacts: the folder of all artefacts.

    Raises:
        WeightsError: they are gone, or others.
    """
    name = spec.backbone.name
    init = teacher = None
    if spec.init is not None:
        init = given_at(spec.init, artifacts, backbone=name)
    if spec.ema.teacher is not None:
        teacher = given_at(spec.ema.teacher, artifacts, backbone=name, whole=True)
    given = Given(init, teacher)
    for what, found in given.digests().items():
        if found != digests.get(what):
            raise WeightsError(
                f"{GIVEN[what].removeprefix('pretrain.')}: the weights are not those that the run "
                "was queued for",
                hint="the command of the run, given again, takes what is there now",
            )
    return given


def find_init(text: str, backbone: str, kept: KeptWeights | None) -> GivenWeights:
    """Return the weights to start from that a user names.

    Args:
        text: a file, a run, or ``timm``.
        backbone: name of the backbone.
        kept: where runs are looked up; None: nowhere.

    Raises:
        EmabenchError: there are none.
    """
    if text == HUB:
        return GivenWeights(HUB, hub_file(backbone))
    return _found(text, kept, "init")


def find_teacher(text: str, kept: KeptWeights | None, *, projects: bool) -> GivenWeights:
    """Return the weights of the frozen teacher that a user names.

    Args:
        text: a run, or a file where the encoder is the backbone alone.
        kept: where runs are looked up; None: nowhere.
        projects: whether the encoder has a projector with weights.

    Raises:
        EmabenchError: there are none, or they are not a whole encoder.
    """
    found = _found(text, kept, "ema.teacher")
    if Path(found.reference).is_absolute():
        if projects:
            raise SpecError(
                f"ema.teacher: {text} holds a backbone, and the teacher needs a projector too",
                hint="name a finished run of the same blocks",
            )
        return found
    found = _with_projector(found)
    if projects and found.projector is None:
        raise WeightsError(
            f"ema.teacher: run {found.reference} kept no projector",
            hint="only runs of this version and later do: repeat it with --force",
        )
    return found


def given_at(
    reference: str, artifacts: Path, *, backbone: str, whole: bool = False
) -> GivenWeights:
    """Return the weights that a resolved spec names.

    Args:
        reference: the id of a run, an absolute path, or ``timm``.
        artifacts: the folder of all artefacts.
        backbone: name of the backbone.
        whole: whether the projector of a run, if it has one, comes along.

    Raises:
        WeightsError: they are gone.
    """
    try:
        if reference == HUB:
            return GivenWeights(HUB, hub_file(backbone))
        if Path(reference).is_absolute():
            return GivenWeights(reference, Path(reference))
        found = GivenWeights(reference, weights_file(artifacts, reference))
    except NotFoundError as error:
        raise WeightsError(error.message, hint=error.hint) from None
    return _with_projector(found) if whole else found


def load_teacher(
    given: GivenWeights, spec: BackboneSpec, image_size: int, blocks: nn.ModuleDict
) -> None:
    """Load the weights of a teacher into blocks.

    Args:
        given: the weights.
        spec: of the backbone.
        image_size: side of the images in pixels.
        blocks: all blocks of an encoder, or all but a projector without weights.

    Raises:
        WeightsError: they are not those of these blocks.
    """
    with torch.random.fork_rng(devices=[]):
        loaded = build_backbone(spec, image_size)
    load_weights(given.backbone, loaded.model, backbone=loaded.name)
    for name, block in loaded.blocks.items():
        blocks[name].load_state_dict(block.state_dict())
    projects = PROJECTOR in blocks and blocks[PROJECTOR].state_dict()
    if given.projector is None or not projects:
        return
    read_header(given.projector)  # a damaged one says so
    try:
        blocks[PROJECTOR].load_state_dict(load_file(given.projector))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(
            f"ema.teacher: the projector of run {given.reference} is another one: {reason}",
            hint="take a teacher of the same method, with the same options",
        ) from None


def check_scope(scope: EmaScope, backbone: Backbone, projector: nn.Module) -> None:
    """Find out whether a scope makes the target a network of its own, as a frozen teacher is.

    Raises:
        SpecError: a part of the target is the online network.
    """
    whole = [*backbone.block_names, *([PROJECTOR] if projector.state_dict() else [])]
    shared = [name for name in whole if name not in scope.averaged]
    if shared:
        raise SpecError(
            f"ema.teacher: in EMA scope {scope.canonical} the target shares "
            f"{', '.join(shared)} with the online network",
            hint="a frozen teacher is a whole network: use --ema-scope full",
        )


def _found(text: str, kept: KeptWeights | None, field: str) -> GivenWeights:
    """Return the file or the run that is meant; a file wins."""
    file = given_path(text)
    if file.is_file():
        return GivenWeights(str(file.resolve()), file.resolve())
    if kept is None or file.suffix or file.name != text:
        raise NotFoundError(
            f"{field}: there is no file {text}", hint="name a file of weights, or a finished run"
        )
    run = kept.run_id(text)
    return GivenWeights(run, weights_file(kept.folder, run))


def _with_projector(found: GivenWeights) -> GivenWeights:
    file = found.backbone.with_name(PROJECTOR_FILE)
    return replace(found, projector=file) if file.is_file() else found
