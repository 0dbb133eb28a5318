"""Contrast between two views of the same images."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def both_ways(
    first: Float[Tensor, "b width"],
    second: Float[Tensor, "b width"],
    temperature: float,
    hardness: float = 0.0,
) -> Float[Tensor, ""]:
    """InfoNCE from each side to the other, averaged: row i of one belongs to row i of the other.

    A. van den Oord, Y. Li, O. Vinyals: Representation Learning with Contrastive Predictive Coding, 2018; in
    both directions as in CLIP (Radford, ICML 2021). Chance is ln b.

    Args:
        first: features of one view.
        second: features of the other.
        temperature: divides the cosines.
        hardness: beta of J. Robinson et al., Contrastive Learning with Hard Negative Samples, ICLR 2021: a
            negative weighs in proportion to exp(beta · cosine), the mean weight being 1.
    """
    cosine = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    return (_one_way(cosine, temperature, hardness) + _one_way(cosine.T, temperature, hardness)) / 2


def _one_way(cosine: Float[Tensor, "b b"], temperature: float, hardness: float) -> Float[Tensor, ""]:
    logits, own = cosine / temperature, torch.arange(len(cosine), device=cosine.device)
    if hardness and len(cosine) > 1:
        negative = ~torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
        tilt = (hardness * cosine.detach()).masked_fill(~negative, -math.inf)
        weight = tilt.log_softmax(1) + math.log(len(cosine) - 1)
        logits = logits + weight.masked_fill(~negative, 0.0)
    return F.cross_entropy(logits, own)
