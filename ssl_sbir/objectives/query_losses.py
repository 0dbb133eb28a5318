"""Losses of queries made of a drawing, a sentence, or both."""

import math

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.objectives.triplet import triplet_loss


def quadruplet_loss(
    sketch: Float[Tensor, "n width"],
    text: Float[Tensor, "n width"],
    fused: Float[Tensor, "n width"],
    positive: Float[Tensor, "n width"],
    negative: Float[Tensor, "n width"],
    margin: float,
) -> Float[Tensor, ""]:
    """The mean of three triplet losses: the drawing, the text, and both together against photo⁺ and photo⁻.

    Source: Song et al., Fine-Grained Image Retrieval: the Text/Sketch Input Dilemma, BMVC 2017; there by Euclidean
    distance, here by 1 − cosine.

    Args:
        sketch: vectors of drawings.
        text: vectors of texts.
        fused: vectors of both together.
        positive: a matching photo for each.
        negative: a photo of another class for each.
        margin: how much further away the negative should be.
    """
    queries = (sketch, text, fused)
    return sum(triplet_loss(q, positive, negative, margin, "cosine") for q in queries) / len(queries)  # type: ignore[return-value]


def photo_class_cross_entropy(
    query: Float[Tensor, "n width"],
    label: Int[Tensor, " n"],
    photos: Float[Tensor, "m width"],
    photo_label: Int[Tensor, " m"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of a query's class against all photos: −log of its photos' share of Σ exp(cosine / temperature).

    Chance is the logarithm of the number of classes, if they are of equal size. Queries whose class has no photo are
    left out; 0 without queries.
    """
    logits = F.normalize(query, dim=1) @ F.normalize(photos, dim=1).T / temperature
    same_class = label[:, None] == photo_label[None]
    usable = same_class.any(1)
    log_share = logits.masked_fill(~same_class, -math.inf)[usable].logsumexp(1) - logits[usable].logsumexp(1)
    return -log_share.sum() / max(int(usable.sum()), 1)
