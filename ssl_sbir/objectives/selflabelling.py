"""Classes that nobody named: clusters of photos, and which of them each drawing probably shows."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from sklearn.cluster import KMeans
from torch import Tensor


def centred(features: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Unit vectors of features less their mean."""
    return F.normalize(features - features.mean(0), dim=1)


def clusters(features: Float[Tensor, "n width"], count: int, seed: int) -> Int[Tensor, " n"]:
    """The k-means cluster, 0 to count - 1, of each feature vector after centring and normalising.

    Args:
        features: of photos.
        count: clusters, at most n.
        seed: decides where k-means starts.
    """
    found = KMeans(count, n_init=2, random_state=seed).fit_predict(centred(features).numpy())
    return torch.from_numpy(found.astype(np.int64))


def means_by(
    values: Float[Tensor, "n width"], group: Int[Tensor, " n"], groups: int
) -> Float[Tensor, "groups width"]:
    """The mean of the values of each group; zero for an empty one."""
    sums = torch.zeros(groups, values.shape[1]).index_add_(0, group, values)
    return sums / group.bincount(minlength=groups).clamp(min=1)[:, None]


class Assignment(NamedTuple):
    """Which class each drawing was given, and whether that is to be believed."""

    label: Int[Tensor, " n"]
    trusted: Bool[Tensor, " n"]


def balanced(
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


def assign(
    sketches: Float[Tensor, "n width"],
    photos: Float[Tensor, "m width"],
    photo_class: Int[Tensor, " m"],
    groups: int,
    *,
    temperature: float,
    share: float,
    evenness: float = 1.0,
    rounds: int = 10,
) -> Assignment:
    """Drawings given to clusters of photos, each of which receives its share (Sinkhorn and Knopp).

    Both sides are centred about their own mean. The fixed shares are what keeps a few clusters, whose photos
    happen to look like drawings, from taking them all.

    Args:
        sketches: features of the drawings.
        photos: features of the photos.
        photo_class: the cluster of each photo.
        groups: number of clusters.
        temperature: of the similarities.
        share: of the drawings is trusted, those most surely assigned; 0 to 1.
        evenness: 1 gives every cluster that has photos equally many drawings, 0 as many as its photos are.
        rounds: of the balancing.
    """
    centres = F.normalize(means_by(centred(photos), photo_class, groups), dim=1)
    count = photo_class.bincount(minlength=groups).float()
    wanted = torch.where(count > 0, count.pow(1 - evenness), 0.0)
    belief = balanced(centred(sketches) @ centres.T, wanted / wanted.sum(), temperature, rounds)
    sureness, label = belief.max(1)
    kept = sureness.argsort(descending=True, stable=True)[: round(share * len(label))]
    trusted = torch.zeros(len(label), dtype=torch.bool)
    trusted[kept] = True
    return Assignment(label, trusted)
