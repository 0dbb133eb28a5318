"""Depthwise convolutions whose weight gradient is ours on small maps."""

import copy

import pytest
import torch
from torch import nn

from ssl_sbir.encoders import load_encoder
from ssl_sbir.encoders.depthwise import DepthwiseConv2d, _DepthwiseConvFunction, replace_depthwise_convs


def gradients(conv, image):
    image = image.clone().requires_grad_()
    (conv(image) * torch.linspace(-1, 1, image.shape[1])[:, None, None] * image.cos()).sum().backward()
    return [image.grad, *(weight.grad for weight in conv.parameters())]


@pytest.mark.parametrize("kernel", [3, 5, (3, 5)])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (4, 4), (1, 4), (2, 1), (7, 6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_torch(kernel, sides, layout, monkeypatch):
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (rows // 2, columns // 2)
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, (rows, columns), padding=padding, groups=6, dtype=torch.float64)
    row = nn.Sequential(copy.deepcopy(plain))
    replace_depthwise_convs(row)
    monkeypatch.setattr(
        DepthwiseConv2d, "_use_fast_gradient", lambda *_: True
    )  # larger maps and doubles, too
    image = torch.randn(3, 6, *sides, dtype=torch.float64).contiguous(memory_format=layout)
    for found, expected in zip(gradients(row, image), gradients(plain, image), strict=True):
        torch.testing.assert_close(found, expected)


def test_only_small_maps_in_training_are_ours(monkeypatch):
    calls = []
    apply = _DepthwiseConvFunction.apply
    monkeypatch.setattr(_DepthwiseConvFunction, "apply", lambda *given: calls.append(1) or apply(*given))
    conv = DepthwiseConv2d.from_conv(nn.Conv2d(4, 4, 5, padding=2, groups=4))
    image = torch.rand(2, 4, 4, 4)
    conv(image)
    assert len(calls) == 1
    conv(torch.rand(2, 4, 5, 5))
    with torch.no_grad():
        conv(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(image).dtype == torch.bfloat16
    conv.eval()(image)
    conv.train().requires_grad_(False)(image)
    assert len(calls) == 1


def test_the_default_encoder_trains_with_them_and_keeps_its_names():
    encoder = load_encoder("efficientnet_lite0", size=64).train()
    ours = [name for name, part in encoder.named_modules() if isinstance(part, DepthwiseConv2d)]
    assert len(ours) == 12  # of sixteen blocks four are of stride 2
    assert all(f"{name}.weight" in encoder.state_dict() for name in ours)
    assert all(copy.deepcopy(encoder).get_parameter(f"{name}.weight").requires_grad for name in ours)
