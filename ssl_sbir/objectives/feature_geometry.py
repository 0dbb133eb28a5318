"""Label-free measures of features: alignment, uniformity, effective rank and spread."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def alignment(first: Float[Tensor, "n width"], second: Float[Tensor, "n width"]) -> float:
    """Mean squared distance between the unit features of two views of the same images; 0 is best, 4 the maximum.

    T. Wang, P. Isola: Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, section 4.1 (exponent 2).
    """
    return (F.normalize(first) - F.normalize(second)).square().sum(1).mean().item()


def uniformity(features: Float[Tensor, "n width"]) -> float:
    """Logarithm of the mean over pairs of exp(−2 · squared distance) of unit features; 0 for a single point.

    Wang & Isola 2020, section 4.1 (t = 2); the lower, the more evenly the features cover the sphere (down to
    about −4). NaN for a single feature.
    """
    return torch.pdist(F.normalize(features)).square().mul(-2).exp().mean().log().item()


def effective_rank(features: Float[Tensor, "n width"]) -> float:
    """exp of the entropy of the normalised singular values: from 1 (a line) to min(n, width).

    Q. Garrido, R. Balestriero, L. Najman, Y. LeCun: RankMe, ICML 2023, equation 1. The features aren't
    centred, so a mean that all share counts as one direction.
    """
    values = torch.linalg.svdvals(features)
    share = values / values.sum().clamp(min=1e-12)
    return torch.special.entr(share).sum().exp().item()


def feature_spread(features: Float[Tensor, "n width"]) -> float:
    """Mean standard deviation of the unit features' components, times √width: 0 for a single point, 1 at most.

    X. Chen, K. He: Exploring Simple Siamese Representation Learning, CVPR 2021, section 4.1.
    """
    return F.normalize(features).std(0).mean().item() * features.shape[1] ** 0.5
