import pytest
import torch
from encoders_for_tests import SIDE, Convolution, cell

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain.attribution.encoded_images import encode_images
from ssl_sbir.explain.pair.why_not import contrast_grids, contrast_photos, score_without_strongest_region
from ssl_sbir.explain.report.plain_words import describe_contrast


@pytest.fixture
def sides(spots, sketch, photos):
    photos = photos.clone()
    cell(photos[0], 3, 1, (1.0, 0.0, 0.0))  # more of what the drawing asks for
    return encode_images(spots, sketch[None], Domain.SKETCH), encode_images(spots, photos, Domain.PHOTO)


def test_the_grid_sums_to_the_difference_of_the_scores():
    torch.manual_seed(0)
    encoder = Convolution().eval()
    ours = encode_images(encoder, torch.rand(1, 3, 32, 32), Domain.SKETCH)
    theirs = encode_images(encoder, torch.rand(4, 3, 32, 32), Domain.PHOTO)
    scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
    found = contrast_grids("regions", ours, theirs)
    assert torch.allclose(found.sum((1, 2)), scores[0] - scores[1:], atol=1e-5)


def test_the_decisive_place_is_the_known_one(sides):
    sketch, photos = sides
    scores = torch.cosine_similarity(sketch.embedding, photos.embedding)
    one = contrast_photos("regions", sketch, photos, scores, [("a", None), ("b", "cat")])[0]
    assert one.decisive == (0, 1)
    assert one.gap == pytest.approx((scores[0] - scores[1]).item(), abs=1e-6)
    assert (one.winner.rank, one.other.rank) == (1, 2)
    assert one.winner.strongest in ((3, 1), (3, 2))
    assert "upper middle of the drawing" in describe_contrast(one)


def test_the_place_without_the_strongest_region_equals_a_slow_count(sides):
    sketch, photos = sides
    scores = torch.cosine_similarity(sketch.embedding, photos.embedding)
    found = contrast_photos("regions", sketch, photos, scores, [("a", None), ("b", None)])[0]
    for k, standing in enumerate((found.winner, found.other)):
        row, column = standing.strongest
        covered = photos.image[k].clone()
        step = SIDE // standing.shape[0]
        covered[:, row * step : (row + 1) * step, column * step : (column + 1) * step] = 0.5
        score = torch.cosine_similarity(photos.embed(covered[None])[0], sketch.embedding[0], 0).item()
        rank = 1 + sum(scores[other].item() > score for other in range(2) if other != k)
        assert standing.score_without == pytest.approx(score, abs=1e-6)
        assert standing.rank_without == rank
    assert found.winner.rank_without == 1 or found.winner.score_without < scores[1]


def test_an_encoder_without_feature_maps_is_compared_by_occlusion(mapless, sketch, photos):
    ours, theirs = (
        encode_images(mapless, sketch[None], Domain.SKETCH),
        encode_images(mapless, photos, Domain.PHOTO),
    )
    strongest, reduced, shape = score_without_strongest_region("occlusion", ours, theirs)
    assert shape == (7, 7)
    assert (reduced < torch.cosine_similarity(ours.embedding, theirs.embedding)).all()
    assert strongest.shape == (2,)
