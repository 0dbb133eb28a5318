import pytest
import torch
from encoders_for_tests import SIDE, cell

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain import explain_pairs
from ssl_sbir.explain.attribution.encoded_images import encode_images
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE
from ssl_sbir.explain.faithfulness.deletion_insertion import (
    FaithfulnessCurves,
    deletion_insertion_curves,
    edge_maps,
    random_maps,
    resize_maps,
)
from ssl_sbir.explain.faithfulness.faithfulness_tests import (
    BaselineAreas,
    FaithfulnessCheck,
    evaluate_faithfulness,
)
from ssl_sbir.explain.faithfulness.trust_verdict import (
    MethodTally,
    assess_trust,
    reliance_advice,
    tally_methods,
)
from ssl_sbir.explain.faithfulness.weight_randomization import RandomizedAgreement


@pytest.fixture
def sides(spots, sketch, photos):
    return encode_images(spots, sketch[None], Domain.SKETCH), encode_images(spots, photos, Domain.PHOTO)


def slow_curve(side, row, values, other, steps, cells, inserting):
    """Cover cell after cell of one image; the values have no ties."""
    order = sorted(range(cells * cells), key=lambda n: -values.flatten()[n])
    heights = []
    for step in range(steps + 1):
        covered = set(order[: round(step * cells * cells / steps)])
        image = side.image[row].clone()
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                inside = (y * cells // image.shape[1]) * cells + x * cells // image.shape[2]
                if (inside in covered) != inserting:
                    image[:, y, x] = COVER_VALUE[side.domain]
        heights.append(torch.cosine_similarity(side.embed(image[None])[0], other, 0).item())
    return heights


def test_curves_equal_a_slow_loop(sides):
    _, photos = sides
    draw = torch.Generator().manual_seed(0)
    maps, other = torch.rand(2, 3, 3, generator=draw), torch.rand(1, 3, generator=draw)
    found = deletion_insertion_curves(photos, torch.tensor([1, 0]), maps, other, steps=3, cells=3)
    for n, row in enumerate((1, 0)):
        for curve, inserting in ((found.deletion, False), (found.insertion, True)):
            slow = slow_curve(photos, row, maps[n], other[0], 3, 3, inserting)
            assert curve[n, :, 0].tolist() == pytest.approx(slow, abs=1e-5)


def test_the_area_is_the_mean_height_of_insertion_minus_that_of_deletion():
    curves = FaithfulnessCurves(torch.tensor([[[1.0], [0.5], [0.0]]]), torch.tensor([[[0.0], [1.0], [1.0]]]))
    assert curves.areas.tolist() == [[0.75 - 0.5]]


def test_images_are_covered_by_default_as_the_study_says_in_six_steps_of_twelve_by_twelve_cells(sides):
    _, photos = sides
    rows, other = torch.zeros(1, dtype=torch.int64), torch.rand(1, 3)
    maps = torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(0))
    found = deletion_insertion_curves(photos, rows, maps, other)
    assert torch.equal(
        found.deletion, deletion_insertion_curves(photos, rows, maps, other, steps=6, cells=12).deletion
    )


def test_the_random_baseline_is_the_mean_over_the_draws(sides):
    sketch, photos = sides
    found = BaselineAreas(photos, sketch.embedding, 3).random_areas((4, 4))
    maps = random_maps(2 * 3, (4, 4))
    for k in range(2):
        row = torch.tensor([k])
        slow = [
            deletion_insertion_curves(photos, row, maps[draw * 2 + k][None], sketch.embedding).areas.item()
            for draw in range(3)
        ]
        assert found[k].item() == pytest.approx(sum(slow) / 3, abs=1e-6)


def test_curves_start_and_end_at_the_whole_and_the_covered_image(sides):
    sketch, photos = sides
    found = deletion_insertion_curves(
        sketch, torch.zeros(2, dtype=torch.int64), torch.rand(2, 4, 4), photos.embedding
    )
    whole = torch.cosine_similarity(sketch.embedding, photos.embedding)
    assert torch.allclose(found.deletion[:, 0], whole.expand(2, -1), atol=1e-6)
    assert torch.allclose(found.insertion[:, -1], whole.expand(2, -1), atol=1e-6)
    assert torch.allclose(found.deletion[:, -1], found.insertion[:, 0], atol=1e-6)


def test_the_true_map_beats_chance_and_edges_and_its_opposite_does_not(spots, sketch, photos):
    noise = (torch.rand(2, 1, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    photos = photos.clone()
    photos[:, :, :32, 32:] = noise  # edges without a meaning to this encoder: it sees red alone
    ours, theirs = (
        encode_images(spots, sketch[None], Domain.SKETCH),
        encode_images(spots, photos, Domain.PHOTO),
    )
    true = torch.zeros(2, 4, 4)
    true[0, 3, 2] = true[1, 1, 0] = 1
    plain = BaselineAreas(theirs, ours.embedding, 4)
    for check in evaluate_faithfulness("gradcam", theirs, true, ours.embedding, plain):
        assert check.beats_random
        assert check.beats_edges
        assert check.side == "photo"
    for check in evaluate_faithfulness("gradcam", theirs, -true, ours.embedding, plain):
        assert not check.beats_random
        assert check.area < 0


def test_a_drawing_is_tested_toward_each_photo(sides):
    sketch, photos = sides
    maps = torch.rand(2, 4, 4)
    together = evaluate_faithfulness(
        "x", sketch, maps, photos.embedding, BaselineAreas(sketch, photos.embedding, 2)
    )
    for k in range(2):
        other = photos.embedding[k : k + 1]
        alone = evaluate_faithfulness("x", sketch, maps[k : k + 1], other, BaselineAreas(sketch, other, 2))[0]
        assert together[k].area == pytest.approx(alone.area, abs=1e-6)
        assert together[k].random == pytest.approx(alone.random, abs=1e-6)
        assert together[k].edges == pytest.approx(alone.edges, abs=1e-6)


def test_equal_places_are_taken_by_chance_and_not_from_the_top(sides):
    _, photos = sides
    rows = torch.zeros(1, dtype=torch.int64)
    flat = deletion_insertion_curves(photos, rows, torch.zeros(1, 4, 4), torch.rand(1, 3), steps=4, cells=4)
    top = deletion_insertion_curves(
        photos, rows, -torch.arange(16.0).view(1, 4, 4), torch.rand(1, 3), steps=4, cells=4
    )
    assert not torch.allclose(flat.deletion / flat.deletion[0, 0], top.deletion / top.deletion[0, 0])


def test_edges_lie_where_pixels_change():
    image = torch.ones(1, 3, 24, 24)
    image[:, :, 14:, :3] = 0
    found = edge_maps(image, (4, 4))[0]
    assert divmod(int(found.argmax()), 4) == (2, 0)
    assert found[0].sum() == 0
    assert random_maps(3, (2, 5)).shape == (3, 2, 5)


def test_resizing_keeps_the_mean_of_finer_maps():
    maps = torch.rand(2, 24, 24)
    assert torch.allclose(resize_maps(maps, 12).mean((1, 2)), maps.mean((1, 2)), atol=1e-6)
    assert resize_maps(torch.rand(2, 3, 3), 12).shape == (2, 12, 12)


def test_explanations_carry_their_checks(spots, sketch, photos):
    known = explain_pairs(spots, sketch, photos, methods=["gradcam", "strokes"], draws=2)
    assert [(check.method, check.side) for check in known[0].checks] == [
        ("gradcam", "drawing"),
        ("gradcam", "photo"),
        ("strokes", "drawing"),
    ]
    assert explain_pairs(spots, sketch, photos)[0].checks == ()


def test_the_verdict_follows_the_counts(sides):
    sketch, photos = sides
    good = torch.zeros(2, 4, 4)
    good[:, 0, 1] = 1
    plain = BaselineAreas(sketch, photos.embedding, 3)
    true = [[check] for check in evaluate_faithfulness("gradcam", sketch, good, photos.embedding, plain)]
    false = [[check] for check in evaluate_faithfulness("gradcam", sketch, -good, photos.embedding, plain)]
    assert tally_methods(true)[0].pairs_random == 2
    assert "better than random maps in 2 of 2 pairs" in assess_trust(true).verdict
    assert "Don't rely on them" in assess_trust(false).verdict
    assert assess_trust([]) is None


@pytest.mark.parametrize(
    ("pairs", "pairs_random", "edges", "advice"),
    [
        (10, 5, 10, "Don't rely on them here"),
        (10, 6, 10, "Rely on them for the area"),
        (10, 6, 5, "hardly more than a map of the image's edges"),
        (10, 10, 6, "Rely on them for the area"),
        (5, 5, 5, "Rely on them for the area"),
        (4, 4, 4, "so few pairs prove little"),
    ],
)
def test_the_advice_changes_at_six_of_ten_wins_and_at_five_pairs(pairs, pairs_random, edges, advice):
    tally = MethodTally("occlusion", pairs, pairs_random, edges, pairs, pairs_random)
    assert advice in reliance_advice(tally)


def test_a_pair_is_won_by_both_sides_together_and_maps_are_counted_alone():
    def check(side, area):
        return FaithfulnessCheck("strokes", side, (), (), area, 0.0, 0.5)

    won = [check("drawing", 0.3), check("photo", -0.2)]
    lost = [check("drawing", 0.1), check("photo", -0.2)]
    assert tally_methods([won, lost]) == (MethodTally("strokes", 4, 2, 0, 2, 1),)


@pytest.mark.parametrize(
    ("drawing", "photo", "said"),
    [
        (0.49, None, "change as they should"),
        (-0.49, None, "change as they should"),
        (0.9, 0.1, "change less than they should"),
        (-0.51, None, "change less than they should"),
    ],
)
def test_maps_of_shuffled_weights_must_correlate_below_one_half(drawing, photo, said):
    first, last = RandomizedAgreement(0.5, "a", 1.0, 1.0), RandomizedAgreement(1.0, "b", drawing, photo)
    tested = [[FaithfulnessCheck("occlusion", "photo", (), (), 1.0, 0.0, 0.0)]]
    assert said in assess_trust(tested, [first, last]).verdict


@pytest.mark.parametrize(
    ("steady", "said"),
    [
        ((0.71, None), "hardly change"),
        ((0.9, 0.5), "change somewhat"),
        ((None, 0.41), "change somewhat"),
        ((0.39, None), "change a lot"),
    ],
)
def test_stability_is_worded_by_the_mean_correlation(steady, said):
    tested = [[FaithfulnessCheck("occlusion", "photo", (), (), 1.0, 0.0, 0.0)]]
    assert f"They {said} when an image is shifted" in assess_trust(tested, (), steady).verdict


def test_ink_that_matters_is_told_from_ink_that_does_not(spots, sketch, photos):
    """The encoder sees dark ink: pale scribbles elsewhere have edges and no effect on the score."""
    drawn = cell(sketch.clone(), 3, 3, (0.86, 0.86, 0.86))
    known = explain_pairs(spots, drawn, photos, methods=["strokes"], draws=3)[0]
    assert known.checks[0].beats_random
    assert known.maps[0].sketch[3 * 8][1 * 8] == 0
    assert known.maps[0].photo is None
