"""Methods that learn to tell labels apart: a linear classifier, no projector, no target."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TrainingSet, Views
from emabench.spec import SpecModel


class Classifier(Method):
    """Cross entropy of one view's features; a subclass says which ``labels`` and how many.

    Args:
        options: with ``label_smoothing``.
        feature_dim: length of the backbone's features.
        data: the training set.
    """

    class Options(SpecModel):
        """Label smoothing."""

        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    stop_gradient: ClassVar[bool] = True
    online_views: ClassVar[tuple[int, ...]] = (0,)
    target_views: ClassVar[tuple[int, ...]] = ()

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.label_smoothing = options.label_smoothing
        count = data.classes if self.labels == "classes" else data.images
        self.classifier = nn.Linear(feature_dim, count)

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Nothing: the classifier takes the features."""
        return nn.Identity()

    def predict(self, embeddings: Tensor) -> Tensor:
        """Return the logits of all labels."""
        return self.classifier(embeddings)  # type: ignore[no-any-return]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Cross entropy with smoothed labels."""
        return F.cross_entropy(online[0], target[0], label_smoothing=self.label_smoothing)
