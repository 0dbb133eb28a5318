import pytest
import torch
from encoders_for_tests import Convolution, Spots
from scipy import stats
from torch import nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import Encoder, Preprocess
from ssl_sbir.explain.attribution.encoded_images import encode_images
from ssl_sbir.explain.faithfulness import weight_randomization
from ssl_sbir.explain.faithfulness.map_agreement import spearman_correlation
from ssl_sbir.explain.faithfulness.stability import shift_images, shift_stability
from ssl_sbir.explain.faithfulness.weight_randomization import (
    _refit_batch_norms,
    _shuffle_weights,
    randomization_agreement,
)


class Deep(Encoder):
    def __init__(self):
        super().__init__({"kind": "deep"}, Preprocess(48), 12)
        layers = [
            part
            for inner, outer in ((3, 12), (12, 12), (12, 12))
            for part in (nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU())
        ]
        self.layers = nn.Sequential(*layers)

    def feature_map(self, image, domain):
        return self.layers(self.normalize_image(image))


def test_rank_correlation_equals_scipy_and_is_zero_for_a_flat_map():
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randint(5, (4, 9), generator=draw).float(), torch.rand(4, 9, generator=draw)
    slow = [stats.spearmanr(a, b).statistic for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    assert spearman_correlation(one, other).tolist() == pytest.approx(slow, abs=1e-6)
    assert spearman_correlation(torch.ones(1, 9), other[:1]).item() == 0
    assert spearman_correlation(one, one * 3 + 1).tolist() == pytest.approx([1, 1, 1, 1])


def test_random_weights_change_the_maps_and_leave_the_encoder_alone():
    torch.manual_seed(0)
    encoder = Deep().eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    found = randomization_agreement(
        encoder, torch.rand(3, 48, 48), torch.rand(6, 3, 48, 48), "regions", stages=3
    )
    assert [one.share for one in found] == pytest.approx([1 / 3, 2 / 3, 1])
    assert abs(found[-1].photo) < 0.7
    assert found[-1].layer == "layers.0"
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    strokes = randomization_agreement(encoder, torch.rand(3, 48, 48), torch.rand(2, 3, 48, 48), "strokes")
    assert strokes[-1].photo is None
    assert [one.share for one in strokes] == pytest.approx([1 / 6, 2 / 6, 4 / 6, 5 / 6, 1])


def test_shuffled_weights_are_the_same_numbers_in_another_order():
    layer = nn.Conv2d(3, 4, 3)
    before = layer.weight.detach().clone()
    _shuffle_weights(layer, torch.Generator().manual_seed(0))
    assert not torch.equal(layer.weight, before)
    assert torch.equal(layer.weight.flatten().sort().values, before.flatten().sort().values)


def test_batch_norms_take_the_statistics_of_the_images_at_hand():
    encoder, sketch, photos = Deep().eval(), torch.rand(1, 3, 48, 48), torch.rand(3, 3, 48, 48)
    _refit_batch_norms(encoder, (sketch, photos))
    with torch.no_grad():
        inputs = encoder.layers[0](encoder.normalize_image(torch.cat([sketch, photos])))
    assert torch.allclose(encoder.layers[1].running_mean, inputs.mean((0, 2, 3)), atol=1e-5)
    assert not encoder.layers[1].training


def test_every_layer_of_the_whole_encoder_is_refitted_and_shuffled_on_a_copy(monkeypatch):
    refitted = []
    monkeypatch.setattr(
        weight_randomization, "_refit_batch_norms", lambda changed, _: refitted.append(changed)
    )
    encoder = Deep().eval()
    randomization_agreement(encoder, torch.rand(3, 48, 48), torch.rand(2, 3, 48, 48), "regions", stages=2)
    assert len(refitted) == 2
    assert all(changed is not encoder for changed in refitted)


def test_an_encoder_that_moves_with_the_picture_is_steady_and_noise_is_not(spots, sketch, photos):
    ours, theirs = shift_stability(spots, sketch, photos, "occlusion", shift=1 / 64)
    assert min(ours, theirs) > 0.5

    class Noisy(Convolution):
        def feature_map(self, image, domain):
            where = super().feature_map(image, domain)
            return where[..., torch.randperm(where.shape[-1])]

    noisy = shift_stability(Noisy().eval(), torch.rand(3, 32, 32), torch.rand(3, 3, 32, 32), "regions")
    assert noisy[1] < 0.5


def test_images_move_by_four_percent_in_four_directions(sketch, photos):
    seen = []

    class Recording(Spots):
        def feature_map(self, image, domain):
            seen.append(image)
            return super().feature_map(image, domain)

    shift_stability(Recording().eval(), sketch, photos, "regions")
    step = 3  # of 64 pixels
    for move in ((step, 0), (-step, 0), (0, step), (0, -step)):
        moved = shift_images(photos, move, 0.5)
        assert any(image.shape == moved.shape and torch.equal(image, moved) for image in seen)


def test_maps_of_moved_images_are_moved_back(spots):
    blank, spot = torch.ones(3, 64, 64), torch.full((1, 3, 64, 64), 0.5)
    blank[:, 20:44, 20:44] = 0.0
    spot[:, :, 20:44, 20:44] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert shift_stability(spots, blank, spot, "integrated", shift=1 / 8)[1] > 0.8


def test_pictures_move_and_the_rim_is_filled():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert shift_images(image, (1, 0), -1.0)[0, 0].tolist() == [[-1, -1, -1], [0, 1, 2], [3, 4, 5]]
    assert shift_images(image, (0, -1), -1.0)[0, 0].tolist() == [[1, 2, -1], [4, 5, -1], [7, 8, -1]]


def test_batch_norms_are_refitted_so_that_shuffled_weights_do_not_overflow():
    torch.manual_seed(0)
    encoder = Deep().eval()
    for part in encoder.layers:
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.fill_(1e-12)  # as if the trained activations had been tiny
    found = randomization_agreement(
        encoder, torch.rand(3, 48, 48), torch.rand(3, 3, 48, 48), "gradcam", stages=1
    )
    assert torch.isfinite(torch.tensor([found[0].drawing, found[0].photo])).all()
    assert encode_images(encoder, torch.rand(1, 3, 48, 48), Domain.PHOTO).embedding.isfinite().all()
