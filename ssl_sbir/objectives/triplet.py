"""Triplets of an anchor, an image of its class and one of another class: how they are chosen and what they cost."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Distance = Literal["euclidean", "cosine"]
Mining = Literal["random", "semi-hard", "hard"]


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

    Source: Schroff et al., FaceNet, CVPR 2015, with distances that aren't squared (as Doodle2Search has it).

    Args:
        anchor: codes of the anchors.
        positive: a code of the same class for each.
        negative: a code of another class for each.
        margin: by how much the negative is to lie further away.
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
    """A candidate for each anchor, any of those allowed with the same chance; -1 where none is."""
    possible = allowed.any(1)
    place = torch.multinomial(torch.where(possible[:, None], allowed.float(), 1.0), 1)[:, 0]
    return torch.where(possible, place, -1)


@torch.no_grad()
def mine_negatives(
    anchor: Float[Tensor, "a width"],
    candidate: Float[Tensor, "c width"],
    to_positive: Float[Tensor, " a"],
    allowed: Bool[Tensor, "a c"],
    mining: Mining,
    distance: Distance = "euclidean",
) -> Int[Tensor, " a"]:
    """For each anchor the candidate that serves as its negative; -1 where none is allowed.

    `random`: any of those allowed. `hard`: the nearest. `semi-hard`: the nearest of those further away than the
    positive, and the furthest where all are nearer (FaceNet).

    Args:
        anchor: codes of the anchors.
        candidate: codes of the candidates.
        to_positive: the distance of each anchor to its positive.
        allowed: which candidate may be which anchor's negative.
        mining: how one is chosen.
        distance: in which it's measured.
    """
    if mining == "random":
        return sample_allowed(allowed)
    far = pairwise_distances(anchor, candidate, distance).masked_fill(~allowed, torch.inf)
    if mining == "semi-hard":
        beyond = far.masked_fill(far <= to_positive[:, None], torch.inf)
        furthest = far.masked_fill(~allowed, -torch.inf).argmax(1)
        place = torch.where(beyond.isfinite().any(1), beyond.argmin(1), furthest)
    else:
        place = far.argmin(1)
    return torch.where(allowed.any(1), place, -1)


def pull_loss(embeddings: Float[Tensor, "n width"], target: Float[Tensor, "n width"]) -> Float[Tensor, ""]:
    """The mean squared Euclidean distance of each code to its target (the L2 term); 0 without codes."""
    return (embeddings - target).square().sum() / max(len(embeddings), 1)
