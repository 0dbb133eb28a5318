"""UCDIR's four terms against slow loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_sbir.objectives.cross_domain import (
    cluster_contrast,
    distance_of_distances,
    instance_contrast,
    is_confident_cluster,
    self_entropy,
)
from ssl_sbir.objectives.weight_ramp import linear_ramp


@pytest.fixture
def made():
    draw = torch.Generator().manual_seed(0)
    query, memory = (F.normalize(torch.randn(n, 6, generator=draw), dim=1) for n in (5, 9))
    prototypes, others = (F.normalize(torch.randn(n, 6, generator=draw), dim=1) for n in (3, 4))
    return query, memory, prototypes, others


def softmax(values):
    whole = sum(math.exp(v) for v in values)
    return [math.exp(v) / whole for v in values]


def against(vector, centres, temperature):
    return softmax([float(vector @ c) / temperature for c in centres])


def test_instances_find_their_own_key(made):
    query, memory, *_ = made
    place = torch.tensor([8, 0, 3, 3, 5])
    slow = [-math.log(against(q, memory, 0.2)[p]) for q, p in zip(query, place.tolist(), strict=True)]
    assert instance_contrast(query, memory, place, 0.2).item() == pytest.approx(sum(slow) / 5, rel=1e-4)
    alike = torch.ones(5, 6)
    assert instance_contrast(alike, torch.ones(9, 6), place, 0.2).item() == pytest.approx(
        math.log(9), rel=1e-5
    )


def test_clusters_find_all_of_theirs_if_they_are_sure(made):
    query, memory, prototypes, _ = made
    clusters, cluster = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1]), torch.tensor([0, 1, 2, 0, 1])
    sure = is_confident_cluster(query, prototypes, cluster, 0.2, 0.3)
    assert sure.tolist() == [against(query[i], prototypes, 0.2)[int(cluster[i])] > 0.3 for i in range(5)]
    assert 0 < sure.sum() < 5
    total = 0.0
    for i in range(5):
        chance = against(query[i], memory, 0.2)
        mine = [math.log(chance[j]) for j in range(9) if clusters[j] == cluster[i]]
        total -= float(sure[i]) * sum(mine) / len(mine)
    found = cluster_contrast(query, memory, cluster, clusters, sure, 0.2)
    assert found.item() == pytest.approx(total / int(sure.sum()), rel=1e-4)
    assert cluster_contrast(query, memory, cluster, clusters, torch.zeros(5, dtype=torch.bool), 0.2) == 0


def test_entropy_is_that_of_each_images_distribution(made):
    query, _, prototypes, _ = made
    slow = [-sum(p * math.log(p) for p in against(q, prototypes, 0.1)) for q in query]
    assert self_entropy(query, prototypes, 0.1).item() == pytest.approx(sum(slow) / 5, rel=1e-4)


def test_distances_of_distances(made):
    query, _, prototypes, others = made

    def distance(i, j, centres):
        a, b = (torch.tensor(against(query[n], centres, 0.5)) for n in (i, j))
        return 1 - float(a @ b / (a.norm() * b.norm()))

    slow = sum((distance(i, j, prototypes) - distance(i, j, others)) ** 2 for i in range(5) for j in range(5))
    found = distance_of_distances(query, prototypes, others, 0.5)
    assert found.item() == pytest.approx(slow / 5, rel=1e-3)
    assert distance_of_distances(query, prototypes, prototypes) == 0


def test_a_ramp_rises_between_its_shares():
    assert [linear_ramp(p, 0.1, 0.5) for p in (0.0, 0.1, 0.3, 0.5, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [linear_ramp(p, 0.5, 0.5) for p in (0.4, 0.5)] == [0, 1]
    assert [linear_ramp(p, 6.0, 5.0) for p in (0.0, 5.5, 6.0)] == [0, 0, 1]
