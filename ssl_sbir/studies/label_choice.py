"""Selection strategies: in which order to label images, computed without reading any label.

Each orders one domain's images by their features. The first n are the choice for a budget of n, so smaller budgets lie
within larger ones; the whole order is computed before anything is labelled.

Sources: k-centre greedy as in Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach", ICLR 2018; smallest margin as in Scheffer et al., IDA 2001, here between the two nearest cluster centres,
because there are no labels yet to train a classifier on; clusters in turn, most typical image first, after Hacohen et
al., "Active Learning on a Budget", ICML 2022, whose typicality is the density of near neighbours, here the distance to
the centre.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean

SelectionStrategy = Callable[[Float[Tensor, "n d"], int, int], Int[Tensor, " n"]]
"""From features, a number of clusters and a seed to an order of the rows."""


def random_order(features: Float[Tensor, "n d"], clusters: int, seed: int) -> Int[Tensor, " n"]:  # noqa: ARG001
    """A random order: the baseline."""
    return torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))


def k_center_greedy(features: Float[Tensor, "n d"], clusters: int, seed: int) -> Int[Tensor, " n"]:  # noqa: ARG001
    """A random first image, then always the image farthest from all previous ones."""
    features = centered_unit_vectors(features)
    order = torch.empty(len(features), dtype=torch.int64)
    order[0] = int(torch.randint(len(features), (1,), generator=torch.Generator().manual_seed(seed)))
    nearest = torch.full((len(features),), torch.inf)
    for position in range(1, len(order)):
        last = order[position - 1]
        nearest = torch.minimum(nearest, 1 - features @ features[last])
        nearest[last] = -torch.inf
        order[position] = int(nearest.argmax())
    return order


def smallest_margin_order(features: Float[Tensor, "n d"], clusters: int, seed: int) -> Int[Tensor, " n"]:
    """Images between two clusters first, by the difference of their distances to the two nearest centres."""
    distances, _ = fit_kmeans_clusters(centered_unit_vectors(features), clusters, seed)
    two = distances.topk(min(2, distances.shape[1]), largest=False).values
    return (two[:, -1] - two[:, 0]).argsort(stable=True)


def cluster_balanced_order(features: Float[Tensor, "n d"], clusters: int, seed: int) -> Int[Tensor, " n"]:
    """One image of each cluster in turn, nearest to its centre first."""
    distances, label = fit_kmeans_clusters(centered_unit_vectors(features), clusters, seed)
    own = distances.gather(1, label[:, None]).squeeze(1)
    nearest = own.argsort(stable=True)
    ranked = nearest[label[nearest].argsort(stable=True)]  # by cluster, nearest first
    counts = label.bincount(minlength=distances.shape[1])
    turn = torch.arange(len(label)) - (counts.cumsum(0) - counts)[label[ranked]]
    return ranked[turn.argsort(stable=True)]


SELECTION_STRATEGIES: dict[str, SelectionStrategy] = {
    "random": random_order,
    "k-centre": k_center_greedy,
    "uncertainty": smallest_margin_order,
    "cluster-balanced": cluster_balanced_order,
}


def find_selection_strategy(name: str) -> SelectionStrategy:
    """The selection strategy of a name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in SELECTION_STRATEGIES:
        raise ConfigError(
            f"unknown choice '{name}'.{did_you_mean(name, SELECTION_STRATEGIES)}",
            f"Known: {', '.join(SELECTION_STRATEGIES)}.",
        )
    return SELECTION_STRATEGIES[name]


def centered_unit_vectors(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The features, centred and scaled to unit length."""
    return normalize(features - features.mean(0))


def fit_kmeans_clusters(
    features: Float[Tensor, "n d"], clusters: int, seed: int
) -> tuple[Float[Tensor, "n k"], Int[Tensor, " n"]]:
    """Each row's distances to the centres of k-means, and its cluster."""
    from sklearn.cluster import KMeans  # slow to import

    count = min(clusters, len(np.unique(features.numpy(), axis=0)))
    kmeans = KMeans(count, n_init=1, random_state=seed).fit(features.numpy())
    return torch.from_numpy(kmeans.transform(features.numpy())), torch.from_numpy(kmeans.labels_).long()
