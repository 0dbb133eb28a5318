"""CoCLR's positives, loss and queue against slow loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sbir.objectives.positive_mining import (
    KeyQueue,
    drop_own_key,
    mine_positives,
    multi_positive_info_nce,
)


def slow_positives(key, queue_keys, row, queue_row, neighbours):
    found = []
    for i in range(len(row)):
        likeness = [float(key[i] @ queue_keys[j]) for j in range(len(queue_row))]
        others = [j for j in range(len(queue_row)) if queue_row[j] != row[i]]
        nearest = sorted(others, key=lambda j: -likeness[j])[:neighbours]
        found.append({0} | {1 + j for j in range(len(queue_row)) if queue_row[j] == row[i] or j in nearest})
    return found


def slow_loss(query, own, queue, positive, temperature):
    total = 0.0
    for i in range(len(query)):
        unit = query[i] / query[i].norm()
        weight = [math.exp(float(unit @ key) / temperature) for key in (own[i], *queue)]
        total -= math.log(sum(weight[j] for j in positive[i]) / sum(weight))
    return total / len(query)


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 5), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_positives_and_loss_equal_loops(b, size, neighbours, seed):
    draw = torch.Generator().manual_seed(seed)
    query, key, own = F.normalize(torch.randn(3, b, 4, generator=draw), dim=2)
    queue, other = F.normalize(torch.randn(2, size, 4, generator=draw), dim=2)
    row, queue_row = (torch.randint(5, (n,), generator=draw) for n in (b, size))
    positive = mine_positives(key @ other.T, row[:, None] == queue_row, neighbours)
    expected = slow_positives(key, other, row, queue_row, neighbours)
    assert [set(p.nonzero()[:, 0].tolist()) for p in positive] == expected
    loss = multi_positive_info_nce(query, own, queue, positive, 0.2)
    assert loss.item() == pytest.approx(slow_loss(query, own, queue, expected, 0.2), rel=1e-4, abs=1e-5)
    hidden = drop_own_key(positive)
    assert [set(p.nonzero()[:, 0].tolist()) for p in hidden] == [
        e - {0} if len(e) > 1 else e for e in expected
    ]


def test_before_the_queue_is_full_only_the_same_image_counts():
    same = torch.tensor([[True, False, False], [False, False, False]])
    assert mine_positives(None, same, 5).tolist() == [[True, True, False, False], [True, False, False, False]]


def test_a_queue_overwrites_the_oldest_and_is_full_when_every_key_is_new():
    queue = KeyQueue(2, 5, 3)
    assert not queue.is_full
    for step in range(2):
        row = torch.arange(3) + 3 * step
        queue.enqueue_keys(F.one_hot(row % 3, 3).float().expand(2, 3, 3), row)
    assert queue.is_full
    assert queue.row.tolist() == [5, 1, 2, 3, 4]
    assert queue.keys[1, 0].tolist() == [0, 0, 1]
    queue.mark_stale()
    assert not queue.is_full
    assert queue.row.tolist() == [5, 1, 2, 3, 4]
