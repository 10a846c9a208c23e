"""What every method promises holds in bfloat16 too, where the processor computes in it."""

from __future__ import annotations

import pytest
import torch
from test_methods import CASES

from emabench import device
from emabench.testing import averaged_by, check_resumption, check_steps, resolved

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("uncounted"),
    pytest.mark.skipif(
        device.choose_precision(torch.device("cpu"), "auto") != "bf16",
        reason="convolutions in bfloat16 take ten times as long on this processor",
    ),
]


@pytest.mark.parametrize(("method", "scope"), CASES)
def test_a_method_trains_and_goes_on_exactly_in_bfloat16(tmp_path, method, scope):
    spec = resolved(method, scope, precision="bf16")
    assert spec.pretrain.precision == "bf16"
    check_steps(spec, averaged_by(method, scope))
    check_resumption(spec, tmp_path)
