"""Classes that nobody named: clusters of photos, and which of them each drawing probably shows."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from lightly.loss.swav_loss import sinkhorn
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


def assign(
    sketches: Float[Tensor, "n width"],
    photos: Float[Tensor, "m width"],
    photo_class: Int[Tensor, " m"],
    groups: int,
    *,
    temperature: float,
    share: float,
    rounds: int = 10,
) -> Assignment:
    """Drawings given to clusters of photos so that all clusters are used evenly (Sinkhorn and Knopp).

    Both sides are centred about their own mean. Evenness is what keeps a few clusters, whose photos happen to
    look like drawings, from taking them all.

    Args:
        sketches: features of the drawings.
        photos: features of the photos.
        photo_class: the cluster of each photo.
        groups: number of clusters.
        temperature: of the similarities.
        share: of the drawings is trusted, those most surely assigned; 0 to 1.
        rounds: of the balancing.
    """
    centres = F.normalize(means_by(centred(photos), photo_class, groups), dim=1)
    belief = sinkhorn(centred(sketches) @ centres.T, iterations=rounds, epsilon=temperature)
    sureness, label = belief.max(1)
    kept = sureness.argsort(descending=True, stable=True)[: round(share * len(label))]
    trusted = torch.zeros(len(label), dtype=torch.bool)
    trusted[kept] = True
    return Assignment(label, trusted)
