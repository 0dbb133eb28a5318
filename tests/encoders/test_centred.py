"""Features less their domain's mean: watched while training, kept with the weights, the same on the map."""

import torch

from ssl_sbir.encoders import DomainCentredEncoder, load_encoder, load_exported, save_encoder


def made():
    torch.manual_seed(0)
    return DomainCentredEncoder(
        load_encoder("timm:test_efficientnet", size=32, pretrained=False).eval(), momentum=0.25
    )


def test_means_follow_what_is_watched_each_domain_its_own():
    encoder, domain = made(), torch.tensor([0, 1, 1])
    first, second = torch.randn(2, 3, encoder.width)
    encoder.update_domain_means(first, domain)
    torch.testing.assert_close(encoder.domain_means[1], first[1:].mean(0))
    encoder.update_domain_means(second, domain)
    torch.testing.assert_close(encoder.domain_means[0], 0.75 * first[0] + 0.25 * second[0])
    before = encoder.domain_means[0].clone()
    encoder.update_domain_means(first[1:], domain[1:])
    assert torch.equal(encoder.domain_means[0], before)


def test_a_domain_that_was_never_watched_has_the_other_ones_mean():
    encoder = made()
    photos = torch.randn(4, encoder.width)
    encoder.update_domain_means(photos, torch.ones(4, dtype=torch.int64))
    torch.testing.assert_close(encoder.domain_means, photos.mean(0).expand(2, -1))
    sketches = torch.randn(2, encoder.width)
    encoder.update_domain_means(sketches, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(encoder.domain_means, torch.stack([sketches.mean(0), photos.mean(0)]))


@torch.no_grad()
def test_the_mean_is_taken_off_and_the_map_still_sums_to_the_feature(tmp_path):
    encoder, image, domain = made(), torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    plain = encoder.encoder(image, domain)
    torch.testing.assert_close(encoder(image, domain), plain)
    encoder.update_domain_means(plain, domain)
    features = encoder(image, domain)
    torch.testing.assert_close(features[::2].mean(0), torch.zeros(encoder.width), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.feature_map(image, domain).mean((2, 3)), features, atol=1e-5, rtol=0)
    save_encoder(encoder, tmp_path / "model")
    again = load_exported(tmp_path / "model")
    assert torch.equal(again(image, domain), features)
