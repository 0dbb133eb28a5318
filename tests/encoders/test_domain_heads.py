"""A head for each domain: the map's mean is the feature, principal axes keep cosines, and an export comes back."""

import torch
import torch.nn.functional as F

from ssl_sbir.encoders import DomainHeadsEncoder, load_encoder, load_exported, save_encoder


def made():
    return DomainHeadsEncoder(load_encoder("timm:test_efficientnet", size=32, pretrained=False), 12).eval()


@torch.no_grad()
def test_each_domain_has_its_head_and_the_maps_mean_is_the_feature(tmp_path):
    encoder, domain = made(), torch.tensor([1, 0, 1, 0])
    encoder.bias.normal_()
    image = torch.rand(4, 3, 32, 32)
    inner, found = encoder.encoder(image, domain), encoder(image, domain)
    for i, of in enumerate(domain.tolist()):
        torch.testing.assert_close(
            found[i], encoder.weight[of] @ inner[i] + encoder.bias[of], atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(encoder.feature_map(image, domain).mean((2, 3)), found, atol=1e-5, rtol=1e-4)
    save_encoder(encoder, tmp_path / "model")
    torch.testing.assert_close(load_exported(tmp_path / "model")(image, domain), found)


@torch.no_grad()
def test_principal_axes_keep_the_cosines_of_centred_features():
    encoder, domain = made(), torch.arange(40) % 2
    features = torch.randn(40, 8) @ torch.randn(8, encoder.encoder.width) + domain[:, None] * 5.0
    encoder.init_principal_axes(features, domain)
    centred = features - torch.stack([features[domain == of].mean(0) for of in (0, 1)])[domain]
    cosines = [
        F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
        for x in (encoder.apply_heads(features, domain), centred)
    ]
    torch.testing.assert_close(*cosines, atol=1e-3, rtol=1e-3)
