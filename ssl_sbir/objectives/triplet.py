"""Triplet loss, and the choice of its negatives."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.objectives.choices import Distance, NegativeMining


def pairwise_distances(
    first: Float[Tensor, "a width"], second: Float[Tensor, "b width"], distance: Distance
) -> Float[Tensor, "a b"]:
    """The distance of every row of one set to every row of another: Euclidean, or 1 − cosine (0 to 2)."""
    if distance == "cosine":
        return 1 - F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    squared = (first[:, None] - second[None]).square().sum(2)
    return squared.clamp(min=1e-12).sqrt()  # the root has no gradient at 0


def triplet_loss(
    anchor: Float[Tensor, "n width"],
    positive: Float[Tensor, "n width"],
    negative: Float[Tensor, "n width"],
    margin: float,
    distance: Distance = "euclidean",
) -> Float[Tensor, ""]:
    """The mean of max(0, d(anchor, positive) − d(anchor, negative) + margin); 0 without triplets.

    Source: Schroff et al., FaceNet, CVPR 2015, with distances that aren't squared (as in Doodle2Search).

    Args:
        anchor: embeddings of the anchors.
        positive: an embedding of the same class for each.
        negative: an embedding of another class for each.
        margin: how much further away the negative should be.
        distance: Euclidean, or 1 − cosine.
    """
    near, far = _rowwise_distance(anchor, positive, distance), _rowwise_distance(anchor, negative, distance)
    return (near - far + margin).relu().sum() / max(len(anchor), 1)


def _rowwise_distance(
    left: Float[Tensor, "n width"], right: Float[Tensor, "n width"], distance: Distance
) -> Tensor:
    if distance == "cosine":
        return 1 - F.cosine_similarity(left, right, dim=1)
    return (left - right).square().sum(1).clamp(min=1e-12).sqrt()


@torch.no_grad()
def sample_allowed(allowed: Bool[Tensor, "anchors candidates"]) -> Int[Tensor, " anchors"]:
    """The index of a random allowed candidate for each anchor, all equally likely; -1 where none is allowed."""
    possible = allowed.any(1)
    index = torch.multinomial(torch.where(possible[:, None], allowed.float(), 1.0), 1)[:, 0]
    return torch.where(possible, index, -1)


@torch.no_grad()
def mine_negatives(
    anchor: Float[Tensor, "a width"],
    candidate: Float[Tensor, "c width"],
    to_positive: Float[Tensor, " a"],
    allowed: Bool[Tensor, "a c"],
    mining: NegativeMining,
    distance: Distance = "euclidean",
) -> Int[Tensor, " a"]:
    """The index of each anchor's negative among the candidates; -1 where none is allowed.

    `random`: any of those allowed. `hard`: the nearest. `semi-hard`: the nearest of those further away than the
    positive, and the furthest where all are nearer (FaceNet).

    Args:
        anchor: embeddings of the anchors.
        candidate: embeddings of the candidates.
        to_positive: distance of each anchor to its positive.
        allowed: which candidate may be which anchor's negative.
        mining: how the negative is chosen.
        distance: Euclidean, or 1 − cosine.
    """
    if mining == "random":
        return sample_allowed(allowed)
    far = pairwise_distances(anchor, candidate, distance).masked_fill(~allowed, torch.inf)
    if mining == "semi-hard":
        beyond = far.masked_fill(far <= to_positive[:, None], torch.inf)
        furthest = far.masked_fill(~allowed, -torch.inf).argmax(1)
        index = torch.where(beyond.isfinite().any(1), beyond.argmin(1), furthest)
    else:
        index = far.argmin(1)
    return torch.where(allowed.any(1), index, -1)


def pull_loss(embeddings: Float[Tensor, "n width"], target: Float[Tensor, "n width"]) -> Float[Tensor, ""]:
    """The mean squared Euclidean distance of embeddings to their targets (the L2 term); 0 without embeddings."""
    return (embeddings - target).square().sum() / max(len(embeddings), 1)
