"""Attention and edges on top of an encoder: their formulas, and that they are exported whole."""

import copy

import pytest
import torch
from torch import nn

from ssl_sbir.augment.kornia_views import pseudo_sketch
from ssl_sbir.encoders import (
    EdgeAugmentedEncoder,
    ProjectedEncoder,
    SpatialAttentionEncoder,
    TwoTowerEncoder,
    load_encoder,
    load_exported,
    save_encoder,
)


@pytest.fixture
def plain():
    return load_encoder("timm:test_efficientnet", size=64, pretrained=False)


@pytest.fixture
def batch():
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return image, torch.tensor([1, 0, 1])


@torch.no_grad()
def test_attention_adds_to_each_place_as_much_as_it_attends_to_it(plain, batch):
    encoder = SpatialAttentionEncoder(plain).eval()
    inner, even = plain.feature_map(*batch), encoder.feature_map(*batch)
    torch.testing.assert_close(even, inner * (1 + 1 / inner[0, 0].numel()))
    first, second = encoder.attention
    torch.nn.init.normal_(second.weight, std=100)  # the features are small
    got = encoder.feature_map(*batch)
    assert not torch.allclose(got, even, rtol=0.05)
    for at in range(3):
        logits = []
        for place in range(inner[at, 0].numel()):
            x = inner[at].flatten(1)[:, place]
            hidden = first.weight[:, :, 0, 0] @ x + first.bias
            logits.append(second.weight[0, :, 0, 0] @ hidden + second.bias[0])
        weight = torch.stack(logits).softmax(0).view_as(inner[at, 0])
        torch.testing.assert_close(got[at], inner[at] * (1 + weight), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder(*batch), got.mean((2, 3)))


@torch.no_grad()
def test_a_photo_is_the_mean_of_itself_and_its_edges_and_a_sketch_is_itself(plain, batch):
    image, domain = batch
    encoder = EdgeAugmentedEncoder(plain).eval()
    got, alone = encoder(image, domain), plain(image, domain)
    edges = plain(pseudo_sketch(image, "sobel"), domain)
    torch.testing.assert_close(got[1], alone[1])
    for at in (0, 2):
        torch.testing.assert_close(got[at], (alone[at] + edges[at]) / 2)
    torch.testing.assert_close(encoder.feature_map(image, domain).mean((2, 3)), got, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder(image[1:2], domain[1:2]), alone[1:2])


@torch.no_grad()
def test_both_are_exported_and_rebuilt(plain, batch, tmp_path):
    def tower():
        inner = copy.deepcopy(plain)
        return ProjectedEncoder(SpatialAttentionEncoder(inner), nn.Linear(inner.width, 8))

    encoder = TwoTowerEncoder(tower(), EdgeAugmentedEncoder(tower())).eval()
    save_encoder(encoder, tmp_path / "model")
    assert torch.equal(load_exported(tmp_path / "model")(*batch), encoder(*batch))
