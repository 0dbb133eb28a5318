"""Classes that nobody named: clusters of photos, and which of them each drawing probably shows."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from sklearn.cluster import KMeans
from torch import Tensor

from ssl_sbir.group_means import group_means


def center_features(features: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Unit vectors of features less their mean."""
    return F.normalize(features - features.mean(0), dim=1)


def kmeans_clusters(features: Float[Tensor, "n width"], count: int, seed: int) -> Int[Tensor, " n"]:
    """The k-means cluster, 0 to count - 1, of each feature vector after centring and normalising.

    Args:
        features: of photos.
        count: clusters, at most n.
        seed: decides where k-means starts.
    """
    found = KMeans(count, n_init=2, random_state=seed).fit_predict(center_features(features).numpy())
    return torch.from_numpy(found.astype(np.int64))


class Assignment(NamedTuple):
    """Which class each drawing was given, and whether that is to be believed."""

    label: Int[Tensor, " n"]
    confident: Bool[Tensor, " n"]


def sinkhorn_balance(
    scores: Float[Tensor, "n groups"], share: Float[Tensor, " groups"], temperature: float, rounds: int
) -> Float[Tensor, "n groups"]:
    """Beliefs in proportion to exp(scores / temperature) whose mean over all rows is a given share of each group.

    R. Sinkhorn, P. Knopp, 1967: columns and rows are scaled in turns, here as sums of logarithms.

    Args:
        scores: of each item for each group.
        share: what each group is to receive, adding up to 1; a group of share 0 receives nothing.
        temperature: small for decided beliefs.
        rounds: of scaling.

    Returns:
        Rows that add up to 1.
    """
    logits, wanted = scores / temperature, (share * len(scores)).clamp(min=1e-30).log()
    for _ in range(rounds):
        logits = logits - logits.logsumexp(0, keepdim=True) + wanted
        logits = logits.log_softmax(1)
    return logits.exp()


def cosine_to_centers(
    items: Float[Tensor, "n width"],
    examples: Float[Tensor, "m width"],
    group: Int[Tensor, " m"],
    groups: int,
) -> Float[Tensor, "n groups"]:
    """Cosines of items with the centre of each group of examples, both sides about their own mean; -1..1."""
    centres = F.normalize(group_means(center_features(examples), group, groups), dim=1)
    return center_features(items) @ centres.T


def spread_labels(
    scores: Float[Tensor, "n groups"],
    features: Float[Tensor, "n width"],
    *,
    neighbours: int = 8,
    temperature: float = 0.1,
    share: float = 0.8,
    rounds: int = 8,
) -> Float[Tensor, "n groups"]:
    """Scores to which each item's nearest ones, theirs and so on have had their say.

    Label spreading (D. Zhou et al., Learning with Local and Global Consistency, NeurIPS 2003) on a graph of nearest
    neighbours, of a few rounds: y <- (1 - share) scores + share W y, the rows of W adding up to 1.

    Args:
        scores: of each item for each group.
        features: whose cosines say which items are near each other.
        neighbours: of each item.
        temperature: of the softmax over their cosines.
        share: what the neighbours count; 0 changes nothing.
        rounds: how far scores travel.
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
    near, share_of = torch.cat(nearest).T, share * torch.cat(weight).T[:, :, None]
    spread = scores
    for _ in range(rounds):
        told = [w * spread[rows] for rows, w in zip(near, share_of, strict=True)]
        spread = (1 - share) * scores + torch.stack(told).sum(0)
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
    """Items given to groups, each of which receives its share (Sinkhorn and Knopp).

    The fixed shares are what keeps a few groups, whose photos happen to look like drawings, from taking them all.

    Args:
        scores: of each drawing for each cluster of photos.
        size: photos in each cluster; an empty one receives nothing.
        temperature: of the scores.
        confident_fraction: of the drawings is trusted, those most surely assigned; 0 to 1.
        class_balance: 1 gives every cluster that has photos equally many drawings, 0 as many as its photos are.
        rounds: of the balancing.
    """
    wanted = torch.where(size > 0, size.float().pow(1 - class_balance), 0.0)
    sureness, label = sinkhorn_balance(scores, wanted / wanted.sum(), temperature, rounds).max(1)
    kept = sureness.argsort(descending=True, stable=True)[: round(confident_fraction * len(label))]
    trusted = torch.zeros(len(label), dtype=torch.bool)
    trusted[kept] = True
    return Assignment(label, trusted)
