"""Contrastive losses between views of the same images."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def symmetric_info_nce(
    first: Float[Tensor, "b width"],
    second: Float[Tensor, "b width"],
    temperature: float,
    hard_negative_beta: float = 0.0,
) -> Float[Tensor, ""]:
    """InfoNCE in both directions, averaged: row i of one view belongs to row i of the other.

    A. van den Oord, Y. Li, O. Vinyals: Representation Learning with Contrastive Predictive Coding, 2018; in
    both directions as in CLIP (Radford, ICML 2021). Chance is ln b.

    Args:
        first: features of one view.
        second: features of the other.
        temperature: divides the cosines.
        hard_negative_beta: beta of J. Robinson et al., Contrastive Learning with Hard Negative Samples, ICLR 2021: a
            negative's weight is proportional to exp(beta · cosine / temperature), with mean 1.
    """
    cosine = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    return (
        _one_way_info_nce(cosine, temperature, hard_negative_beta)
        + _one_way_info_nce(cosine.T, temperature, hard_negative_beta)
    ) / 2


def _one_way_info_nce(
    cosine: Float[Tensor, "b b"], temperature: float, hard_negative_beta: float
) -> Float[Tensor, ""]:
    logits, target = cosine / temperature, torch.arange(len(cosine), device=cosine.device)
    if hard_negative_beta and len(cosine) > 1:
        negative = ~torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
        tilt = (hard_negative_beta * logits.detach()).masked_fill(~negative, -math.inf)
        weight = tilt.log_softmax(1) + math.log(len(cosine) - 1)
        logits = logits + weight.masked_fill(~negative, 0.0)
    return F.cross_entropy(logits, target)
