"""Self-labelling: clusters of photos as classes, and the assignment of sketches to them."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.group_means import group_means


def center_features(features: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Features less their mean, normalised to unit length."""
    return F.normalize(features - features.mean(0), dim=1)


def kmeans_clusters(features: Float[Tensor, "n width"], count: int, seed: int) -> Int[Tensor, " n"]:
    """The k-means cluster, 0 to count - 1, of each feature vector after centring and normalising.

    Args:
        features: features of the photos.
        count: number of clusters, at most n.
        seed: seed of k-means' initial centers.
    """
    from sklearn.cluster import KMeans

    cluster = KMeans(count, n_init=2, random_state=seed).fit_predict(center_features(features).numpy())
    return torch.from_numpy(cluster.astype(np.int64))


class Assignment(NamedTuple):
    """The class assigned to each sketch, and whether the assignment is confident."""

    label: Int[Tensor, " n"]
    confident: Bool[Tensor, " n"]


def sinkhorn_balance(
    scores: Float[Tensor, "n groups"], share: Float[Tensor, " groups"], temperature: float, rounds: int
) -> Float[Tensor, "n groups"]:
    """Probabilities proportional to exp(scores / temperature), scaled so that each group's mean over all rows is given.

    R. Sinkhorn, P. Knopp, 1967: columns and rows are scaled in turn, here as sums of logarithms.

    Args:
        scores: score of each item for each group.
        share: mean probability of each group; sums to 1; a group of share 0 gets no item.
        temperature: small for probabilities near 0 and 1.
        rounds: rounds of scaling.

    Returns:
        Rows that sum to 1.
    """
    logits, log_totals = scores / temperature, (share * len(scores)).clamp(min=1e-30).log()
    for _ in range(rounds):
        logits = logits - logits.logsumexp(0, keepdim=True) + log_totals
        logits = logits.log_softmax(1)
    return logits.exp()


def cosine_to_centers(
    items: Float[Tensor, "n width"],
    examples: Float[Tensor, "m width"],
    group: Int[Tensor, " m"],
    groups: int,
) -> Float[Tensor, "n groups"]:
    """Cosines of items with the center of each group of examples, both less their own mean; -1..1."""
    centers = F.normalize(group_means(center_features(examples), group, groups), dim=1)
    return center_features(items) @ centers.T


def spread_labels(
    scores: Float[Tensor, "n groups"],
    features: Float[Tensor, "n width"],
    *,
    neighbours: int = 8,
    temperature: float = 0.1,
    share: float = 0.8,
    rounds: int = 8,
) -> Float[Tensor, "n groups"]:
    """Scores averaged over each item's nearest neighbours, their neighbours and so on.

    Label spreading (D. Zhou et al., Learning with Local and Global Consistency, NeurIPS 2003) on a graph of nearest
    neighbours, for a few rounds: y <- (1 - share) scores + share W y, where the rows of W sum to 1.

    Args:
        scores: score of each item for each group.
        features: features whose cosines define the neighbours.
        neighbours: number of neighbours of each item.
        temperature: temperature of the softmax over their cosines.
        share: weight of the neighbours; 0 changes nothing.
        rounds: number of rounds.
    """
    count = min(neighbours, len(features) - 1)
    if not share or count < 1:
        return scores
    unit, nearest, weight = F.normalize(features, dim=1), [], []
    for start in range(0, len(unit), 1024):
        cosine = unit[start : start + 1024] @ unit.T
        own = torch.arange(len(cosine))
        cosine[own, start + own] = -torch.inf
        best = cosine.topk(count, 1)
        nearest.append(best.indices)
        weight.append((best.values / temperature).softmax(1))
    near, weights = torch.cat(nearest).T, share * torch.cat(weight).T[:, :, None]
    spread = scores
    for _ in range(rounds):
        from_neighbours = [w * spread[rows] for rows, w in zip(near, weights, strict=True)]
        spread = (1 - share) * scores + torch.stack(from_neighbours).sum(0)
    return spread


def assign_balanced(
    scores: Float[Tensor, "n groups"],
    size: Int[Tensor, " groups"],
    *,
    temperature: float,
    confident_fraction: float,
    class_balance: float = 0.5,
    rounds: int = 10,
) -> Assignment:
    """An assignment of items to groups in which each group gets a fixed share (Sinkhorn and Knopp).

    The fixed shares prevent a few groups, whose photos happen to look like drawings, from getting all sketches.

    Args:
        scores: score of each sketch for each cluster of photos.
        size: photos in each cluster; an empty one gets no sketch.
        temperature: temperature of the scores.
        confident_fraction: fraction of the sketches, those of highest probability, that is confident; 0 to 1.
        class_balance: 1 gives every cluster that has photos equally many sketches, 0 in proportion to its photos.
        rounds: rounds of the balancing.
    """
    share = torch.where(size > 0, size.float().pow(1 - class_balance), 0.0)
    probability, label = sinkhorn_balance(scores, share / share.sum(), temperature, rounds).max(1)
    highest = probability.argsort(descending=True, stable=True)[: round(confident_fraction * len(label))]
    confident = torch.zeros(len(label), dtype=torch.bool)
    confident[highest] = True
    return Assignment(label, confident)
