import numpy as np
import pytest
import torch

from ssl_sbir.errors import EvaluationError
from ssl_sbir.ranking.itq import fit_itq_quantizer, hamming_scores


def features(rows, width=40, seed=0):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.standard_normal((rows, width)) * np.linspace(3, 0.1, width))


def test_codes_are_packed_signs_of_the_projection():
    fit = fit_itq_quantizer(features(300), 24)
    codes = fit.binary_codes(features(5, seed=1))
    assert codes.shape == (5, 3)
    signs = (features(5, seed=1) - fit.mean) @ fit.projection > 0
    for row in range(5):
        bits = [int(codes[row, bit // 8]) >> (bit % 8) & 1 for bit in range(24)]
        assert bits == signs[row].int().tolist()


def test_hamming_scores_are_exact():
    random = np.random.default_rng(0)
    one, other = (torch.from_numpy(random.integers(0, 256, (n, 6), dtype=np.uint8)) for n in (7, 90))
    scores = hamming_scores(one, other).compute_tile(0)
    for q in range(7):
        for g in range(90):
            distance = sum(
                int(a ^ b).bit_count() for a, b in zip(one[q].tolist(), other[g].tolist(), strict=True)
            )
            assert scores[q, g] == 48 - 2 * distance


def test_the_rotation_brings_features_nearer_to_corners():
    training = features(500)
    fit = fit_itq_quantizer(training, 16)
    axes = torch.linalg.eigh(torch.cov(training.T))[1].flip(1)[:, :16]

    def error(projection):
        projected = (training - training.mean(0)) @ projection
        return float((projected - projected.sign()).square().mean())

    torch.testing.assert_close(fit.projection.T @ fit.projection, torch.eye(16).double())
    assert error(fit.projection) < error(axes)


@pytest.mark.parametrize("bits", [8, 15, 48, 520])
def test_lengths_that_cant_be_had_are_refused(bits):
    with pytest.raises(EvaluationError, match=f"{bits} bits"):
        fit_itq_quantizer(features(100), bits)
