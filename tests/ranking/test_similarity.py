import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sbir.ranking.similarity import (
    TiledScores,
    are_unit_vectors,
    cosine_scores,
    distinct_rows,
    euclidean_scores,
)
from ssl_sbir.ranking.sorting import sort_best_first, top_k_items


def all_scores(scores):
    return torch.cat([scores.compute_tile(i) for i in range(len(scores))])


def random_rows(seed, rows, width, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, width))).to(dtype)


def test_cosine_is_the_cosine():
    query, gallery = random_rows(0, 1100, 16), random_rows(1, 70, 16)
    want = torch.nn.functional.cosine_similarity(query.double()[:, None], gallery.double()[None], dim=2)
    torch.testing.assert_close(all_scores(cosine_scores(query, gallery)).double(), want, atol=3e-7, rtol=0)


@pytest.mark.parametrize("offset", [0.0, 5000.0])
def test_euclidean_orders_by_distance(offset):
    query, gallery = random_rows(0, 9, 16) + offset, random_rows(1, 70, 16) + offset
    nearest = torch.cdist(query.double(), gallery.double()).argsort(1)
    assert torch.equal(
        torch.from_numpy(sort_best_first(all_scores(euclidean_scores(query, gallery))).items), nearest
    )


def test_euclidean_ties_of_codes_are_exact():
    bits = torch.randint(0, 2, (60, 40)).float()
    distances = torch.cdist(bits.double(), bits.double()).square().round()
    scores = all_scores(euclidean_scores(bits, bits))
    same = distances[:, :, None] == distances[:, None, :]
    assert torch.equal(scores[:, :, None] == scores[:, None, :], same)


def test_equal_vectors_tie_exactly_wherever_they_stand():
    gallery = random_rows(1, 37, 51)[torch.randint(0, 37, (997,))]
    scores = all_scores(cosine_scores(random_rows(0, 300, 51), gallery))
    for group in (distinct_rows(gallery)[1] == kind for kind in range(37)):
        assert (scores[:, group] == scores[:, group][:, :1]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_distinct_names_first_copies(rows):
    table = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0], [1.0, 2.0]])[rows]
    kinds, place = distinct_rows(table)
    assert torch.equal(table[kinds][place], table)
    assert len(kinds) == len({tuple(row) for row in table.tolist()})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([torch.float32, torch.float64]))
def test_best_first_is_a_stable_descending_sort(seed, items, dtype):
    values = np.random.default_rng(seed).choice(
        [-2.5, -1e-40, -0.0, 0.0, 1e-40, 0.1, 3.0, -np.inf], (4, items)
    )
    scores = torch.from_numpy(values).to(dtype)
    want = torch.sort(scores, dim=1, descending=True, stable=True)
    assert torch.equal(torch.from_numpy(sort_best_first(scores).items), want.indices)
    found, places = top_k_items(scores, min(5, items))
    assert torch.equal(found, want.values[:, :5])
    assert torch.equal(places, want.indices[:, :5])


def test_units_are_known_up_to_rounding():
    features = random_rows(0, 50, 33)
    assert are_unit_vectors(features / features.norm(dim=1, keepdim=True))
    assert not are_unit_vectors(features)


def test_a_tile_is_as_high_as_its_memory_allows():
    wide = TiledScores(torch.zeros(1, 1), torch.zeros(1, 1).expand(54_151, 1))
    assert wide.tile_height * wide.num_items * 4 <= 64 << 20 < wide.tile_height * wide.num_items * 8


@pytest.mark.parametrize("count", [1, 3, 600])
def test_a_score_does_not_depend_on_how_many_queries_there_are(count):
    # Not by a bit: a shorter product may be summed in another order, so that short tiles are filled up.
    query, gallery = random_rows(0, 1100, 512), random_rows(1, 900, 512)
    tiles = cosine_scores(query[:count], gallery)
    assert torch.equal(all_scores(tiles), all_scores(cosine_scores(query, gallery))[:count])
    buffer = tiles.new_tile_buffer()
    assert torch.equal(tiles.compute_tile(0, out=buffer), tiles.compute_tile(0))
