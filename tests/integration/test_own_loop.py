"""The loops of the how-to run as they stand, and their targets are those of the naive network."""

import functools
import re
from pathlib import Path

import pytest
import timm
import torch
from naive_target import watch
from torch.utils.data import DataLoader, TensorDataset

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "own-loop.md").read_text("utf-8")
SMALL = {"layers": (1, 1, 1, 1), "channels": (4, 8, 8, 16)}
BATCHES = 3
EXTRA = [
    pytest.mark.parity,
    # What they warn of is not ours.
    pytest.mark.filterwarnings("ignore"),
]


def loop(title):
    """Return the code under a title of the page, compiled."""
    (code,) = re.findall(rf"^## {title}$.*?^```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(code.splitlines()) <= 40
    return compile(code, f"own-loop.md, {title}", "exec")


@pytest.mark.parametrize(
    ("title", "scope"),
    [
        ("Plain PyTorch", "from:layer4"),
        pytest.param("Lightning", "full", marks=EXTRA),
        pytest.param("lightly", "projector", marks=EXTRA),
    ],
)
def test_a_loop_of_the_page_gives_the_targets_of_the_naive_network(
    title, scope, monkeypatch, tmp_path
):
    code = loop(title)
    monkeypatch.chdir(tmp_path)  # Lightning writes logs and checkpoints
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, **SMALL))
    happened = watch(monkeypatch)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        views = (torch.randn(6 * BATCHES, 3, 32, 32) for _ in range(2))
        exec(code, {"loader": DataLoader(TensorDataset(*views), batch_size=6)})
    finally:
        torch.set_default_dtype(torch.float32)
    assert happened == [scope, scope, "update"] * BATCHES
