"""Alignment, uniformity, rank and spread against slow loops and against features whose answer is known."""

import math

import pytest
import torch

from ssl_sbir.objectives.feature_geometry import alignment, effective_rank, feature_spread, uniformity
from ssl_sbir.training.monitor import mean_average_precision


@pytest.fixture
def features():
    return torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0))


def unit(row):
    return [value / math.sqrt(sum(v * v for v in row)) for value in row]


def test_alignment_and_uniformity_equal_slow_loops(features):
    first, second = ([unit(row) for row in part.tolist()] for part in features)
    distance = [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in first] for x in first]
    own = [sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x, y in zip(first, second, strict=True)]
    pairs = [math.exp(-2 * distance[i][j]) for i in range(9) for j in range(i)]
    assert alignment(*features) == pytest.approx(sum(own) / 9, rel=1e-5)
    assert uniformity(features[0]) == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-5)


def test_rank_counts_the_directions_that_are_used_evenly():
    basis = torch.eye(8)
    assert effective_rank(basis[:3].repeat(4, 1)) == pytest.approx(3, rel=1e-4)
    assert effective_rank(torch.ones(10, 8)) == pytest.approx(1, rel=1e-3)


def test_a_single_point_has_no_spread_and_a_sphere_nearly_all():
    assert feature_spread(torch.ones(50, 16)) == pytest.approx(0, abs=1e-6)
    assert feature_spread(torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))) == pytest.approx(
        1, abs=0.05
    )


def test_mean_average_precision_equals_a_slow_loop():
    random = torch.Generator().manual_seed(0)
    score = torch.rand(6, 12, generator=random)
    query, gallery = torch.randint(3, (6,), generator=random), torch.randint(3, (12,), generator=random)
    expected = []
    for q in range(6):
        hits, precisions = 0, []
        for place, item in enumerate(sorted(range(12), key=lambda i: -score[q, i]), 1):
            if gallery[item] == query[q]:
                hits += 1
                precisions.append(hits / place)
        expected.append(sum(precisions) / hits)
    found = mean_average_precision(score, query, gallery)
    assert found == pytest.approx(sum(expected) / 6, rel=1e-5)
