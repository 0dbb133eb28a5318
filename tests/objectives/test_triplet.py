"""Triplets: distances, mining and loss against loops over single images."""

import math

import pytest
import torch

from ssl_sbir.objectives.triplet import (
    mine_negatives,
    pairwise_distances,
    pull_loss,
    sample_allowed,
    triplet_loss,
)


def slow_distance(left, right, distance):
    if distance == "euclidean":
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(left.tolist(), right.tolist(), strict=True)))
    dot = sum(a * b for a, b in zip(left.tolist(), right.tolist(), strict=True))
    return 1 - dot / (left.norm().item() * right.norm().item())


@pytest.fixture
def codes():
    return torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).unbind()


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_distances_and_loss_equal_a_loop(codes, distance):
    a, p, n = codes
    table = pairwise_distances(a, p, distance)
    loss = 0.0
    for i in range(5):
        for j in range(5):
            assert table[i, j].item() == pytest.approx(slow_distance(a[i], p[j], distance), abs=1e-5)
        gap = slow_distance(a[i], p[i], distance) - slow_distance(a[i], n[i], distance)
        loss += max(0.0, gap + 0.4) / 5
    assert triplet_loss(a, p, n, 0.4, distance).item() == pytest.approx(loss, abs=1e-5)


def test_equal_codes_have_a_finite_gradient():
    code = torch.ones(2, 3, requires_grad=True)
    triplet_loss(code, code, code.detach() + 1, 3.0).backward()
    assert code.grad.isfinite().all()
    pairwise_distances(code, code, "euclidean").sum().backward()
    assert code.grad.isfinite().all()


def test_no_triplet_costs_nothing(codes):
    empty = codes[0][:0]
    assert triplet_loss(empty, empty, empty, 1.0).item() == 0
    assert pull_loss(empty, empty).item() == 0


@pytest.mark.parametrize("mining", ["semi-hard", "hard"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_mining_chooses_as_a_loop_does(codes, mining, distance):
    anchor, positive, candidate = codes
    label, other = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 2, -1])
    allowed = (label[:, None] != other[None]) & (other >= 0)[None]
    near = pairwise_distances(anchor, positive, distance).diagonal()
    for close in (near, near * 0, near + 99):
        got = mine_negatives(anchor, candidate, close, allowed, mining, distance)
        for i in range(5):
            far = {j: slow_distance(anchor[i], candidate[j], distance) for j in range(5) if allowed[i, j]}
            beyond = {j: d for j, d in far.items() if d > close[i].item()}
            if mining == "hard":
                expected = min(far, key=far.get)
            else:
                expected = min(beyond, key=beyond.get) if beyond else max(far, key=far.get)
            assert got[i].item() == expected


def test_random_mining_draws_each_allowed_candidate_and_no_other(codes):
    allowed = torch.tensor([[True, True, False], [False, False, True], [False, False, False]])
    torch.manual_seed(0)
    counts = torch.stack([sample_allowed(allowed) for _ in range(600)])
    share = (counts[:, 0] == 0).float().mean().item()
    assert 0.4 < share < 0.6
    assert set(counts[:, 0].tolist()) == {0, 1}
    assert set(counts[:, 1].tolist()) == {2}
    assert set(counts[:, 2].tolist()) == {-1}
    same = mine_negatives(codes[0][:3], codes[1][:3], torch.zeros(3), allowed, "random")
    assert same[2] == -1


def test_pull_is_the_mean_squared_distance(codes):
    a, p, _ = codes
    expected = sum(slow_distance(x, y, "euclidean") ** 2 for x, y in zip(a, p, strict=True)) / 5
    assert pull_loss(a, p).item() == pytest.approx(expected, rel=1e-5)
