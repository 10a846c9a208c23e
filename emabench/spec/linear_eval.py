"""The spec of an evaluation: which network, and which classifiers on its frozen features."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emabench.spec.data import DataSpec
from emabench.spec.model import SpecModel

Network = Literal["online", "target", "average"]
"""Whose backbone gives the features."""
FLOORS = ("pixels", "untrained")
"""What stands behind the @ in the figures of ``LinearEvalSpec.floors``."""


class KnnSpec(SpecModel):
    """Weighted k-nearest-neighbour classification by cosine similarity (arXiv 1805.01978)."""

    k: Annotated[int, Field(ge=1)] = 200
    """Neighbours that vote; at most the number of training images."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """A neighbour of similarity s votes with weight exp(s / temperature)."""


class LinearSpec(SpecModel):
    """Multinomial logistic regression on standardised features."""

    weight_decays: Annotated[tuple[float, ...], Field(min_length=1)] = (
        1e-5, 1e-4, 1e-3, 1e-2, 1e-1,
    )  # fmt: skip
    """L2 penalties to choose from; the one that does best on the held-out images is used."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the *training* images on which the penalty is chosen, per class."""
    max_iterations: Annotated[int, Field(ge=1)] = 200
    """Upper bound of the L-BFGS iterations of each fit."""


class AlsoSpec(DataSpec):
    """Further images of an evaluation, and the name that their figures bear."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,32}$")] | None = None
    """The figures are called ``top1@<name>`` and so on; None is the name of the data set."""

    @property
    def title(self) -> str:
        """The name behind the @."""
        return self.name or self.dataset


def _data_sets(value: Any) -> Any:
    """Let names stand for data sets."""
    if not isinstance(value, list | tuple):
        return value
    return tuple({"dataset": each} if isinstance(each, str) else each for each in value)


class LinearEvalSpec(SpecModel):
    """The evaluation of the weights that a pretraining left behind."""

    added_later = ("also", "few_shot", "floors")

    enabled: bool = True
    """Whether the weights are evaluated at all; they cannot be where no image has a label."""
    network: Network = "online"
    """Network whose backbone gives the features; ``ema.evaluation_decay`` keeps the ``average``."""
    data: DataSpec | None = None
    """Images to evaluate on: every field of ``data``; None: those of the pretraining. A field that
    is left out is that of the pretraining; for another data set only the image size is. They are
    normalised with the statistics of their own training images."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Draws the held-out images of the linear probe; None is the seed of the pretraining."""
    knn: KnnSpec = KnnSpec()
    linear: LinearSpec = LinearSpec()
    few_shot: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Labelled images a class, for example ``[1, 5, 10]``: gives ``few_shot_5`` and so on, the mean
    top-1 of the nearest class mean over ten draws that are the same for every run, and
    ``few_shot_5_sd``, their spread."""
    also: Annotated[tuple[AlsoSpec, ...], BeforeValidator(_data_sets)] = ()
    """Further data sets, for example ``[cifar100]``, or with any field of ``data``
    ``[{dataset: folder, data_dir: flowers, name: flowers}]``: each is evaluated like the first one,
    with classifiers of its own, and gives ``top1@cifar100`` and so on. The image size is that of
    ``data`` where it is left out."""
    floors: bool = False
    """Whether the raw pixels and the untrained network of the same seed are evaluated too, so that
    nobody takes for learned what was there before: gives ``top1@pixels``, ``top1@untrained`` and so
    on. Of the runs that one command trains on the same images with the same backbone, the first has
    them. Part of no fingerprint, since it changes no other figure."""
    batch_size: Annotated[int, Field(ge=1)] = 512
    """Images per forward pass of the feature extraction."""

    @model_validator(mode="after")
    def _figures_have_one_name(self) -> Self:
        titles = [each.title for each in self.also]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f"also: two are called {twice}; give each a name")
        taken = next((title for title in titles if title in FLOORS), None)
        if taken is not None:
            raise ValueError(f"also: {taken} is the name of a floor; give the images another name")
        return self
