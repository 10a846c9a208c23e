"""Convolutions over a pixel or two: torch's gradients where they are right, else float32."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from emabench.device import Device
from emabench.networks.small_maps import has_miscomputed, is_miscomputed, mend_convolutions

CPU = torch.device("cpu")
BF16, FP32 = Device(CPU, "bf16"), Device(CPU, "fp32")
CASES = [
    (kernel, side, stride, groups)
    for kernel in (3, 5, 7)
    for side in (1, 2, 3, 4)
    for stride in (1, 2)
    for groups in (1, 32)
]


def gradient(convolution, images, upstream):
    convolution.weight.grad = None
    with BF16.autocast():
        output = convolution(images)
    (output.float() * upstream).sum().backward()
    return convolution.weight.grad.double()


@pytest.mark.parametrize(("kernel", "side", "stride", "groups"), CASES)
def test_the_gradient_is_that_of_float64(kernel, side, stride, groups):
    """What is not mended is right by itself, and what is mended is right by that."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(32, 32, kernel, stride, kernel // 2, groups=groups, bias=False)
    images = torch.randn(16, 32, side, side, generator=generator)
    mended = copy.deepcopy(nn.Sequential(layer))
    mend_convolutions(mended)
    weight = layer.weight.detach().double().requires_grad_()
    exact = F.conv2d(images.double(), weight, None, stride, kernel // 2, 1, groups)
    upstream = torch.randn(exact.shape, generator=generator)
    (exact * upstream.double()).sum().backward()
    used = [copy.deepcopy(mended)[0]]
    used += [] if is_miscomputed(layer, images.shape) else [layer]
    for each in used:
        for _ in range(3):
            junk = [torch.full((10_000,), float("nan")) for _ in range(20)]
            del junk  # what was never written is not a number
            found = gradient(each, images, upstream)
            assert (found - weight.grad).abs().max() < 0.03 * weight.grad.abs().max()


def test_it_depends_on_device_precision_and_size():
    model = timm.create_model("resnet18", num_classes=0)
    assert has_miscomputed(BF16, model, {16})
    assert has_miscomputed(BF16, model, {32, 16})
    assert not has_miscomputed(BF16, model, {32})
    assert not has_miscomputed(FP32, model, {16})
    assert not has_miscomputed(BF16, nn.Flatten(), {16})
    assert model.training


def test_a_mended_model_has_the_same_names_and_outputs():
    plain = timm.create_model("resnet18", num_classes=0).eval()
    mended = copy.deepcopy(plain)
    mend_convolutions(mended)
    assert mended.state_dict().keys() == plain.state_dict().keys()
    assert [type(m).__name__ for m in mended.modules()] == [
        type(m).__name__ for m in plain.modules()
    ]
    images = torch.randn(2, 3, 32, 32)
    with BF16.autocast():
        assert torch.equal(mended(images), plain(images))
