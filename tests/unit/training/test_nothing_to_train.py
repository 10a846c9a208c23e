"""Methods and backbones that leave nothing to train are refused before the job is queued."""

import pytest

from emabench.errors import SpecError
from emabench.testing import resolved


@pytest.mark.parametrize(
    ("method", "backbone", "words"),
    [
        ("random", "pixels", "neither has weights"),
        ("mae_ct", "test_nfnet", "it is one block"),
    ],
)
def test_nothing_to_train(method, backbone, words):
    with pytest.raises(SpecError, match=f"method {method} with backbone {backbone}: {words}") as e:
        resolved(method, "none", backbone__name=backbone, data__image_size=64)
    assert e.value.hint
