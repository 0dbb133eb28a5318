"""Domain conditioning: nothing at the start, the formula afterwards, on SE gates and on batch norms."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ssl_sbir.encoders import DomainConditionedEncoder, load_encoder
from ssl_sbir.encoders.domain_conditioned import DomainGate, DomainNorm, DomainTag
from ssl_sbir.errors import EncoderError

BOTH = torch.tensor([0, 1])


def image(size: int = 32) -> Tensor:
    one = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    return one.expand(2, -1, -1, -1).contiguous()  # the same picture, tagged as sketch and as photo


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("timm:tf_efficientnet_lite0", DomainNorm),
        ("timm:resnet10t", DomainNorm),
        ("timm:legacy_seresnet18", DomainGate),
        ("timm:mobilenetv3_small_050", DomainGate),
        ("timm:seresnet18", DomainGate),
    ],
)
@torch.no_grad()
def test_it_starts_as_the_plain_encoder_and_then_tells_domains_apart(
    name: str, kind: type[nn.Module]
) -> None:
    plain = load_encoder(name, size=32, pretrained=False)
    for norm in [part for part in plain.modules() if isinstance(part, nn.BatchNorm2d)]:
        norm.weight.fill_(1)  # some networks start with silent branches, whose gates change nothing
    encoder = DomainConditionedEncoder(copy.deepcopy(plain)).eval()
    assert torch.equal(encoder(image(), BOTH), plain(image(), BOTH))
    block = next(part for part in encoder.modules() if isinstance(part, kind))
    for weight in [value for name, value in block.named_parameters() if name in ("column", "scale", "shift")]:
        weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    sketch, photo = encoder(image(), BOTH)
    assert not torch.allclose(sketch, photo)
    torch.testing.assert_close(encoder(image().flip(0), BOTH.flip(0)), torch.stack([photo, sketch]))


@torch.no_grad()
def test_a_norm_is_scaled_and_shifted_before_its_activation() -> None:
    plain = load_encoder("efficientnet_lite0", size=32, pretrained=False)
    norm, tag = copy.deepcopy(plain.backbone.bn1), DomainTag()
    block = DomainNorm(plain.backbone.bn1, tag).eval()
    block.scale.normal_(), block.shift.normal_()
    x, tag.domain = torch.randn(2, 32, 4, 4), torch.tensor([1, 0])
    norm.eval()
    for at, domain in enumerate([1, 0]):
        for channel in range(32):
            mean, variance = norm.running_mean[channel], norm.running_var[channel]
            value = (x[at, channel] - mean) / (variance + norm.eps).sqrt() * norm.weight[channel]
            value = (value + norm.bias[channel]) * (1 + block.scale[domain, channel]) + block.shift[
                domain, channel
            ]
            torch.testing.assert_close(block(x)[at, channel], value.clamp(0, 6), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_cse_gates_all_sixteen_bottlenecks_as_in_the_paper() -> None:
    encoder = load_encoder("cse_resnet50", size=32, pretrained=False)
    gates = [part for part in encoder.modules() if isinstance(part, DomainGate)]
    assert len(gates) == 16
    assert all(gate.column.abs().sum() == 0 for gate in gates)
    block = encoder.encoder.backbone.layer2[1].se_module
    assert (block.fc1.out_channels, block.fc1.in_channels) == (512 // 16, 512)
    block.fc2.column.normal_()
    x = torch.randn(2, 512, 3, 3)
    encoder.tag.domain = BOTH
    whole = torch.cat(
        [block.fc2.layer.weight[:, :, 0, 0], block.fc2.column[:, None]], 1
    )  # W2 with its new column
    for at, d in enumerate([0.0, 1.0]):
        squeezed = (block.fc1.weight[:, :, 0, 0] @ x[at].mean((1, 2)) + block.fc1.bias).relu()
        gate = torch.sigmoid(whole @ torch.cat([squeezed, torch.tensor([d])]) + block.fc2.layer.bias)
        torch.testing.assert_close(block(x)[at], x[at] * gate[:, None, None], atol=1e-5, rtol=1e-4)


def test_a_copy_conditions_itself() -> None:
    encoder = load_encoder("efficientnet_lite0_conditional", size=32, pretrained=False)
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        encoder(image(), BOTH)
        assert torch.equal(twin(image()[:1], BOTH[:1]), encoder(image()[:1], BOTH[:1]))
    assert twin.tag is not encoder.tag
    assert all(part.tag is twin.tag for part in twin.modules() if isinstance(part, DomainNorm))


def test_nothing_to_condition_is_said() -> None:
    with pytest.raises(EncoderError, match="nothing to condition in vit_tiny_patch16_224"):
        DomainConditionedEncoder(load_encoder("timm:vit_tiny_patch16_224", size=32, pretrained=False))


def test_a_block_outside_its_encoder_is_refused() -> None:
    encoder = load_encoder("efficientnet_lite0_conditional", size=32, pretrained=False)
    with pytest.raises(RuntimeError, match="outside its DomainConditionedEncoder"):
        encoder.encoder(image(), BOTH)
