"""Clusters and balanced assignment against slow loops and against what they are for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sbir.group_means import group_means
from ssl_sbir.objectives.self_labeling import (
    assign_balanced,
    center_features,
    cosine_to_centers,
    kmeans_clusters,
    sinkhorn_balance,
    spread_labels,
)


def around(centres, each, spread, seed):
    draw = torch.Generator().manual_seed(seed)
    label = torch.arange(len(centres)).repeat_interleave(each)
    return centres[label] + spread * torch.randn(len(label), centres.shape[1], generator=draw), label


def test_clusters_find_what_lies_together():
    features, label = around(5 * torch.eye(6), 20, 0.1, 0)
    found = kmeans_clusters(features, 6, seed=0)
    pairs = {(int(a), int(b)) for a, b in zip(label, found, strict=True)}
    assert len(pairs) == 6


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_means_by_group_equal_a_loop(n, groups, seed):
    draw = torch.Generator().manual_seed(seed)
    values, group = torch.randn(n, 3, generator=draw), torch.randint(groups, (n,), generator=draw)
    found = group_means(values, group, groups)
    for g in range(groups):
        rows = [values[i] for i in range(n) if group[i] == g]
        expected = torch.stack(rows).mean(0) if rows else torch.zeros(3)
        torch.testing.assert_close(found[g], expected)


def test_assignment_equals_a_slow_sinkhorn():
    draw = torch.Generator().manual_seed(1)
    scores = torch.randn(12, 4, generator=draw)
    size = torch.full((4,), 5)
    found = assign_balanced(scores, size, temperature=0.1, confident_fraction=0.5, rounds=7)
    q = np.exp(scores.double().numpy() / 0.1)
    for _ in range(7):
        for k in range(4):
            q[:, k] /= q[:, k].sum() * 4
        for i in range(12):
            q[i] /= q[i].sum() * 12
    assert found.label.tolist() == q.argmax(1).tolist()
    assert set(found.confident.nonzero()[:, 0].tolist()) == set(np.argsort(-q.max(1))[:6].tolist())


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_balanced_beliefs_give_each_group_its_share(n, groups, seed):
    draw = torch.Generator().manual_seed(seed)
    scores, share = torch.randn(n, groups, generator=draw), torch.rand(groups, generator=draw) + 0.1
    belief = sinkhorn_balance(scores, share / share.sum(), temperature=1.0, rounds=200)
    torch.testing.assert_close(belief.sum(1), torch.ones(n))
    torch.testing.assert_close(belief.mean(0), share / share.sum(), atol=1e-3, rtol=0)


def test_nearness_equals_a_loop():
    draw = torch.Generator().manual_seed(1)
    sketches, photos = torch.randn(12, 8, generator=draw), torch.randn(20, 8, generator=draw)
    photo_class = torch.arange(20) % 4
    unit = [[float(v) for v in row] for row in center_features(photos)]
    for k in range(4):
        centre = np.mean([unit[i] for i in range(20) if i % 4 == k], axis=0)
        expected = center_features(sketches).numpy() @ (centre / np.linalg.norm(centre))
        found = cosine_to_centers(sketches, photos, photo_class, 4)[:, k].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("neighbours", [4, 8, 20])  # of the eight that there are
def test_diffusion_equals_a_slow_one_and_mends_an_outvoted_item(neighbours):
    draw = torch.Generator().manual_seed(2)
    scores, features = torch.randn(9, 3, generator=draw), torch.randn(9, 5, generator=draw)
    found = spread_labels(scores, features, neighbours=neighbours, temperature=0.2, share=0.6, rounds=3)
    unit = (features / features.norm(dim=1, keepdim=True)).tolist()
    spread = [row.clone() for row in scores]
    for _ in range(3):
        new = []
        for i in range(9):
            near = {j: sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) for j in range(9) if j != i}
            best = sorted(near, key=lambda j: -near[j])[:neighbours]
            weight = torch.tensor([near[j] for j in best]).div(0.2).softmax(0)
            told = sum(w * spread[j] for w, j in zip(weight, best, strict=True))
            new.append(0.4 * scores[i] + 0.6 * told)
        spread = new
    torch.testing.assert_close(found, torch.stack(spread))

    places, label = around(torch.eye(3, 8), 10, 0.02, 0)
    sure = F.one_hot(label, 3).float()
    wrong = sure.clone()
    wrong[0] = torch.tensor([0.0, 0.6, 0.0])
    assert torch.equal(spread_labels(wrong, places).argmax(1), label)
    assert torch.equal(spread_labels(wrong, places, share=0.0), wrong)
    assert torch.equal(spread_labels(wrong[:1], places[:1]), wrong[:1])


def test_sharing_follows_the_photos_or_is_even_and_leaves_empty_groups_empty():
    centres = torch.eye(3, 8)
    photos = torch.cat([around(centres[:1], 30, 0.1, 1)[0], around(centres[1:2], 10, 0.1, 2)[0]])
    photo_class = torch.tensor([0] * 30 + [1] * 10)
    sketches = torch.randn(400, 8, generator=torch.Generator().manual_seed(5))
    scores, size = cosine_to_centers(sketches, photos, photo_class, 3), photo_class.bincount(minlength=3)
    sharing = {"temperature": 0.02, "confident_fraction": 1.0, "rounds": 300}
    for evenness, first in ((0.0, 300), (1.0, 200)):
        counts = assign_balanced(scores, size, class_balance=evenness, **sharing).label.bincount(minlength=3)
        assert counts[2] == 0
        assert abs(int(counts[0]) - first) <= 20


def test_balance_keeps_one_cluster_from_taking_all_drawings():
    centres = F.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    photos, photo_class = around(centres, 10, 0.02, 1)
    sketches, _ = around(centres, 10, 0.02, 2)
    # Each drawing is pulled halfway towards the first cluster: its nearest centre is often that one.
    sketches = 0.35 * sketches + 0.65 * (
        centres[0] + 0.3 * torch.randn(50, 16, generator=torch.Generator().manual_seed(3))
    )
    scores = cosine_to_centers(sketches, photos, photo_class, 5)
    found = assign_balanced(
        scores, photo_class.bincount(minlength=5), temperature=0.05, confident_fraction=1.0
    )
    assert found.label.bincount(minlength=5).max() <= 14
    assert found.confident.all()


def test_a_shift_of_one_domain_changes_nothing():
    draw = torch.Generator().manual_seed(4)
    sketches, photos = torch.randn(30, 8, generator=draw), torch.randn(40, 8, generator=draw)
    photo_class = torch.randint(5, (40,), generator=draw)
    plain = cosine_to_centers(sketches, photos, photo_class, 5)
    torch.testing.assert_close(
        plain, cosine_to_centers(sketches + 3, photos - 2, photo_class, 5), atol=1e-5, rtol=0
    )
