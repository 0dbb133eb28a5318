"""The tilt of a teacher, published and calibrated, and terms that some images take no part in."""

import math

import pytest
import torch

from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.distillation import (
    distillation_loss,
    labelled_cross_entropy,
    tilt_logits,
)


@pytest.fixture
def facts():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(6, 20, generator=generator), torch.rand(6, 20, generator=generator)


def test_the_published_tilt_changes_no_odds_by_more_than_e_to_the_nearness(facts):
    logits, similarity = facts
    torch.testing.assert_close(tilt_logits(logits, similarity, 0.3, "published"), logits + 0.3 * similarity)
    odds = (tilt_logits(logits, similarity, 0.3, "published") - logits).exp()
    assert odds.max() / odds.min() <= math.exp(0.3) + 1e-6


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("scale", [1.0, 0.05])
def test_the_calibrated_tilt_closes_that_share_of_the_gap_on_any_scale(facts, share, scale):
    logits, similarity = facts
    similarity = 0.4 + scale * similarity
    leaning = tilt_logits(logits, similarity, share, "calibrated").softmax(1)
    for i in range(6):
        before = sum(p * a for p, a in zip(logits[i].softmax(0), similarity[i], strict=True))
        after = sum(p * a for p, a in zip(leaning[i], similarity[i], strict=True))
        gap = similarity[i].max() - before
        assert ((after - before) / gap).item() == pytest.approx(share, abs=1e-2)


def test_the_calibrated_tilt_is_the_closest_distribution_with_that_expectation(facts):
    """Any other distribution with the same expected similarity diverges more from the teacher's."""
    logits, similarity = facts[0][:1].double(), facts[1][:1].double()
    teacher, leaning = logits.softmax(1), tilt_logits(logits, similarity, 0.5, "calibrated").softmax(1)
    divergence = (leaning * (leaning / teacher).log()).sum()
    for seed in range(5):
        step = torch.randn(1, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        fixed = torch.cat([torch.ones_like(similarity), similarity])  # what must not change: sum, expectation
        step -= (fixed.T @ torch.linalg.solve(fixed @ fixed.T, fixed @ step.T)).T
        other = leaning + 0.3 * leaning.min() * step / step.abs().max()
        torch.testing.assert_close((other * similarity).sum(), (leaning * similarity).sum())
        assert (other * (other / teacher).log()).sum() > divergence


def test_a_class_that_nothing_is_known_of_tilts_nothing(facts):
    logits = facts[0]
    for tilt in ("published", "calibrated"):
        similarity = torch.zeros(6, 20)
        torch.testing.assert_close(tilt_logits(logits, similarity, 0.5, tilt).softmax(1), logits.softmax(1))


def test_unlabelled_images_and_empty_terms_cost_nothing():
    logits, label = torch.randn(4, 3), torch.tensor([2, -1, 0, -1])
    slow = sum(logits[i].exp().sum().log() - logits[i, label[i]] for i in (0, 2)) / 2
    torch.testing.assert_close(labelled_cross_entropy(logits, label), slow)
    assert labelled_cross_entropy(logits, torch.full((4,), -1)) == 0
    assert distillation_loss(logits[:0], logits[:0]) == 0
    target = torch.rand(4, 3)
    slow = -sum(
        target[i, j] * (logits[i, j] - logits[i].exp().sum().log()) for i in range(4) for j in range(3)
    )
    torch.testing.assert_close(distillation_loss(logits, target), slow / 4)


def test_a_classifier_of_its_own_rank_is_factorised_exactly_and_of_more_not_at_all():
    torch.manual_seed(0)
    classifier, features = torch.nn.Linear(12, 7), torch.randn(5, 12)
    first, second = svd_factorize(classifier, 7)
    torch.testing.assert_close(second(first(features)), classifier(features), atol=1e-5, rtol=0)
    rough = [
        wide(narrow(features)) for narrow, wide in [svd_factorize(classifier, width) for width in (2, 5)]
    ]
    errors = [(found - classifier(features)).norm() for found in rough]
    assert errors[0] > errors[1] > 1e-3
    with pytest.raises(ConfigError, match="embedding_dim = 8 exceeds 7"):
        svd_factorize(classifier, 8)
