"""InfoNCE against a slow loop, with and without weighted negatives."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sbir.objectives.contrastive import symmetric_info_nce


def slow(first, second, temperature, hardness):
    a, b, n = F.normalize(first, dim=1), F.normalize(second, dim=1), len(first)
    total = 0.0
    for left, right in ((a, b), (b, a)):
        for i in range(n):
            cosine = [float(left[i] @ right[j]) for j in range(n)]
            tilt = [math.exp(hardness * cosine[j] / temperature) for j in range(n) if j != i]
            weight = [t / (sum(tilt) / len(tilt)) for t in tilt]
            negatives = [math.exp(cosine[j] / temperature) for j in range(n) if j != i]
            own = math.exp(cosine[i] / temperature)
            total -= math.log(own / (own + sum(w * x for w, x in zip(weight, negatives, strict=True))))
    return total / (2 * n)


@given(st.integers(2, 7), st.sampled_from([0.0, 0.5, 2.0]), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_equals_a_loop(n, hardness, seed):
    draw = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, n, 5, generator=draw)
    found = symmetric_info_nce(first, second, 0.2, hardness)
    assert found.item() == pytest.approx(slow(first, second, 0.2, hardness), rel=1e-4)


def test_chance_is_the_logarithm_of_the_batch():
    alike = torch.ones(8, 4)
    assert symmetric_info_nce(alike, alike, 0.1).item() == pytest.approx(math.log(8), rel=1e-5)
    assert symmetric_info_nce(alike, alike, 0.1, 1.0).item() == pytest.approx(math.log(8), rel=1e-5)


def test_hard_negatives_raise_the_loss_and_no_gradient_runs_through_their_weights():
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 6, 5, generator=draw)
    assert symmetric_info_nce(first, second, 0.2, 2.0) > symmetric_info_nce(first, second, 0.2)
    first.requires_grad_()
    symmetric_info_nce(first, second, 0.2, 2.0).backward()
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
