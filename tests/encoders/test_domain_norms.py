"""One encoder, two sets of normalisation statistics."""

import pytest
import torch
from torch import nn

from ssl_sbir.encoders import DomainNormEncoder, load_encoder, load_exported, save_encoder


def plain(name="timm:test_efficientnet"):
    torch.manual_seed(0)
    return load_encoder(name, size=32, pretrained=False)


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    return torch.rand(6, 3, 32, 32, generator=draw), torch.tensor([0, 1, 0, 1, 1, 0])


def test_each_domain_is_normed_as_if_it_were_alone(batch):
    image, domain = batch
    both, lone = DomainNormEncoder(plain()).train(), plain().train()
    found = both(image, domain)
    for of in (0, 1):
        torch.testing.assert_close(found[domain == of], lone(image[domain == of], domain[domain == of]))


def test_statistics_part_and_weights_stay_shared(batch, tmp_path):
    image, domain = batch
    image = torch.where(domain[:, None, None, None] == 0, image * 0.1 + 0.9, image)
    encoder = DomainNormEncoder(plain()).train()
    for _ in range(3):
        encoder(image, domain).sum().backward()
    assert len(list(encoder.parameters())) == len(list(plain().parameters()))
    photo = [m.running_mean for m in encoder.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    sketch = [b for name, b in encoder.sketch_norms.named_buffers() if name.endswith("running_mean")]
    assert len(photo) == len(sketch) > 0
    assert not torch.allclose(photo[0], sketch[0], atol=1e-3)
    encoder.eval()
    with torch.no_grad():
        features = encoder(image, domain)
        alone = encoder(image[domain == 0], domain[domain == 0])
        torch.testing.assert_close(features[domain == 0], alone)
        torch.testing.assert_close(encoder.feature_map(image, domain).mean((2, 3)), features)
        save_encoder(encoder.with_fit("ink"), tmp_path / "model")
        again = load_exported(tmp_path / "model")
        assert torch.equal(again(image, domain), features)
        assert again.preprocess.fit == again.encoder.preprocess.fit == "ink"


def test_an_encoder_without_batch_norm_is_left_as_it_was(batch):
    with torch.no_grad():
        torch.testing.assert_close(
            DomainNormEncoder(plain("timm:test_vit")).eval()(*batch), plain("timm:test_vit").eval()(*batch)
        )
