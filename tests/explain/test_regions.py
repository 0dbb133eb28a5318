import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sbir.explain.attribution.region_pairs import decompose_regions, region_contributions, strongest_pairs

sizes = st.integers(1, 5)


def slow_contributions(sketch, photo):
    f, g = sketch.flatten(1).double(), photo.flatten(1).double()
    lengths = f.mean(1).norm() * g.mean(1).norm()
    return torch.tensor(
        [
            [(f[:, i] @ g[:, j] / (f.shape[1] * g.shape[1] * lengths)).item() for j in range(g.shape[1])]
            for i in range(f.shape[1])
        ],
        dtype=torch.float64,
    )


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, sizes, sizes, st.integers(1, 3), st.integers(0, 10_000))
def test_contributions_sum_to_the_cosine_and_equal_the_loop(a, b, c, e, k, seed):
    draw = torch.Generator().manual_seed(seed)
    sketch, photos = torch.randn(6, a, b, generator=draw), torch.randn(k, 6, c, e, generator=draw)
    found = region_contributions(sketch, photos)
    cosine = torch.cosine_similarity(sketch.mean((1, 2))[None], photos.mean((2, 3)))
    assert (found.sum((1, 2)) - cosine).abs().max() < 1e-5
    for one, photo in zip(found, photos, strict=True):
        assert torch.allclose(one, slow_contributions(sketch, photo))


def test_a_zero_embedding_has_no_contributions():
    assert region_contributions(torch.zeros(3, 2, 2), torch.randn(2, 3, 2, 2)).abs().max() == 0


def slow_strongest(table, count):
    left = {(i, j): table[i][j].item() for i in range(len(table)) for j in range(len(table[0]))}
    chosen = []
    while left and len(chosen) < count:
        best = max(left, key=lambda place: left[place])
        chosen.append((*best, left[best]))
        left = {place: value for place, value in left.items() if place[0] != best[0] and place[1] != best[1]}
    return chosen


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.integers(1, 6), st.integers(0, 10_000))
def test_strongest_pairs_equal_the_loop(n, m, count, seed):
    table = torch.randn(2, n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows, columns, values = strongest_pairs(table, count)
    for k in range(2):
        found = list(zip(rows[k].tolist(), columns[k].tolist(), values[k].tolist(), strict=True))
        assert found == slow_strongest(table[k], count)


def test_marginals_sum_to_the_score_and_pairs_are_cells():
    sketch, photos = torch.rand(4, 2, 3), torch.rand(2, 4, 3, 2)
    score = torch.cosine_similarity(sketch.mean((1, 2))[None], photos.mean((2, 3)))
    for one, cosine in zip(decompose_regions(sketch, photos, score, 2), score.tolist(), strict=True):
        assert sum(map(sum, one.sketch)) == pytest.approx(cosine, abs=1e-5)
        assert sum(map(sum, one.photo)) == pytest.approx(cosine, abs=1e-5)
        assert (len(one.sketch), len(one.sketch[0])) == (2, 3)
        assert (len(one.photo), len(one.photo[0])) == (3, 2)
        assert abs(one.delta) < 1e-5
        assert all(pair.sketch < (2, 3) and pair.photo < (3, 2) for pair in one.strongest)
