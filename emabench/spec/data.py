"""Which images a run sees, and how they are augmented."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from emabench.errors import SpecError
from emabench.spec.model import SpecModel

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]


class DataSpec(SpecModel):
    """The data set, the stored size of its images, and the subsets that are used."""

    added_later = ("white", "image_column", "label_column")
    dataset: str = "fashion-mini"
    """Name of the data set: see ``emabench datasets``."""
    data_dir: str | None = None
    """Where the files are: the tree of a ``folder``, the file or folder of ``arrays``, the shards
    of a ``webdataset``, the files or the address of ``hf``, the download folder of the others."""
    image_column: Annotated[str, Field(min_length=1)] | None = None
    """The column that holds the images of ``hf``; None finds it."""
    label_column: Annotated[str, Field(min_length=1)] | None = None
    """The column that holds the labels of ``hf``, or the key of a ``webdataset``'s ``json``; None
    finds it."""
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of the stored square images in pixels; None is the data set's own size."""
    crop: Literal["center", "stretch"] = "center"
    """How a non-square image becomes square: cut its centre, or stretch it."""
    white: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The value that becomes white in a folder's grey images of 16 bits, 4095 for 12 bits; None is
    65535. Setting 65535 says that images without any bright value are dark on purpose."""
    train_subset: Annotated[int, Field(ge=1)] | None = None
    """Number of training images, drawn class-balanced with ``subset_seed``; None is all."""
    test_subset: Annotated[int, Field(ge=1)] | None = None
    """Number of test images, drawn class-balanced with ``subset_seed``; None is all."""
    subset_seed: Annotated[int, Field(ge=0)] = 0
    """Draws the subsets, and the split of a folder that has none. Not the seed of the run."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of a folder without ``test/`` or ``val/`` that is held out as its test set."""


class ViewSpec(SpecModel):
    """The random augmentation of one view, in torchvision's parametrisation."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Area of the random resized crop, as a share of the image: lower and upper bound."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width ÷ height of the crop, drawn log-uniformly: lower and upper bound."""
    flip_probability: Probability = 0.5
    """Probability of a horizontal flip."""
    jitter_probability: Probability = 0.8
    """Probability that brightness, contrast, saturation and hue are changed."""
    brightness: Strength = 0.4
    """Strength: the factor is drawn from 1 ± this."""
    contrast: Strength = 0.4
    """As brightness."""
    saturation: Strength = 0.2
    """As brightness."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Strength: the hue turns by up to ± this share of the circle."""
    grey_probability: Probability = 0.2
    """Probability that a view becomes grey."""
    blur_probability: Probability = 0.0
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Standard deviation of the Gaussian blur in pixels: lower and upper bound."""
    solarize_probability: Probability = 0.0
    """Probability that bright pixels are inverted."""
    solarize_threshold: Annotated[int, Field(ge=0, le=255)] = 128
    """Pixels of this value or more are inverted."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        for name, low, high in (
            ("crop_scale", 0.0, 1.0),
            ("crop_ratio", 0.0, float("inf")),
            ("blur_sigma", 0.0, float("inf")),
        ):
            lower, upper = getattr(self, name)
            if not low < lower <= upper <= high:
                raise ValueError(f"{name} needs {low:g} < lower ≤ upper ≤ {high:g}")
        return self


class SecondView(SpecModel):
    """What the second view does differently from the first; None keeps the first view's value."""

    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] | None = None
    flip_probability: Probability | None = None
    jitter_probability: Probability | None = None
    brightness: Strength | None = None
    contrast: Strength | None = None
    saturation: Strength | None = None
    hue: Annotated[float, Field(ge=0, le=0.5)] | None = None
    grey_probability: Probability | None = None
    blur_probability: Probability | None = None
    blur_sigma: tuple[float, float] | None = None
    solarize_probability: Probability | None = None
    solarize_threshold: Annotated[int, Field(ge=0, le=255)] | None = None


class LocalViews(SecondView):
    """Small views of small parts of the image, which the online network alone sees (multi-crop)."""

    count: Annotated[int, Field(ge=0)] = 0
    """Local views of an image, for methods that take them; every field of ``augmentation`` may be
    set for them, and is that of the first view where it is not."""
    size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of a local view in pixels; None is half of the images' side."""
    crop_scale: tuple[float, float] | None = (0.05, 0.4)
    """Area of a local view, as a share of the image: lower and upper bound."""


class AugmentationSpec(ViewSpec):
    """The random views of an image: two global ones, and local ones where they are asked for."""

    added_later = ("local_views",)

    second_view: SecondView = SecondView()
    """Where the second view differs: every field of ``augmentation``; None keeps the first view's
    value."""

    local_views: LocalViews = LocalViews()
    """Small views beside the two: ``count``, ``size``, and every field of ``augmentation``."""

    def views(self) -> tuple[ViewSpec, ViewSpec]:
        """Return the complete specs of the first and the second view."""
        return ViewSpec.parse(self._first()), self._differing("second_view")

    def local_view(self) -> ViewSpec:
        """Return the complete spec of a local view."""
        return self._differing("local_views")

    def _first(self) -> dict[str, Any]:
        return self.model_dump(include=set(ViewSpec.model_fields))

    def _differing(self, name: str) -> ViewSpec:
        changes = getattr(self, name).model_dump(
            include=set(ViewSpec.model_fields), exclude_none=True
        )
        return ViewSpec.parse(self._first() | changes, what=name)

    @model_validator(mode="after")
    def _other_views_are_valid(self) -> Self:
        try:
            self.views()
            self.local_view()
        except SpecError as error:
            raise ValueError(error.message) from None
        return self
