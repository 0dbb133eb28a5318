"""Four loss terms that align two domains without pairs or labels (UCDIR).

C. Hu, G. H. Lee: Feature Representation Learning for Unsupervised Cross-domain Image Retrieval, ECCV 2022.
Features are unit vectors; `memory_bank` holds the latest key of every image of a domain.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def instance_contrast(
    query: Float[Tensor, "b width"],
    memory_bank: Float[Tensor, "n width"],
    index: Int[Tensor, " b"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of each image with its own key among those of its whole domain. Chance is ln n.

    Args:
        query: views of some images.
        memory_bank: keys of all images of their domain; those of this batch already updated.
        index: indices of the images in the memory.
        temperature: divides the cosines.
    """
    return F.cross_entropy(query @ memory_bank.T / temperature, index)


def cluster_contrast(
    query: Float[Tensor, "b width"],
    memory_bank: Float[Tensor, "n width"],
    cluster: Int[Tensor, " b"],
    key_clusters: Int[Tensor, " n"],
    confident: Bool[Tensor, " b"],
    temperature: float,
) -> Float[Tensor, ""]:
    """The mean −log-probability of the keys of each image's cluster; 0 if no image is confident.

    Args:
        query: views of some images.
        memory_bank: keys of all images of their domain.
        cluster: clusters of the images.
        key_clusters: clusters of the keys.
        confident: images whose cluster counts (see `is_confident_cluster`).
        temperature: divides the cosines.
    """
    same_cluster = (cluster[:, None] == key_clusters).float()
    log_probability = (query @ memory_bank.T / temperature).log_softmax(1)
    mean = (same_cluster * log_probability).sum(1) / same_cluster.sum(1).clamp(min=1)
    return -(confident * mean).sum() / confident.sum().clamp(min=1)


def is_confident_cluster(
    key: Float[Tensor, "b width"],
    prototypes: Float[Tensor, "k width"],
    cluster: Int[Tensor, " b"],
    temperature: float,
    threshold: float,
) -> Bool[Tensor, " b"]:
    """Whether each image's key gives its own cluster a probability above the threshold."""
    probability = (key @ prototypes.T / temperature).softmax(1)
    return probability.gather(1, cluster[:, None])[:, 0] > threshold


def self_entropy(
    query: Float[Tensor, "b width"], prototypes: Float[Tensor, "k width"], temperature: float
) -> Float[Tensor, ""]:
    """The mean entropy of images' distributions over a domain's clusters; low if each is near one of them."""
    logits = query @ prototypes.T / temperature
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def distance_of_distances(
    query: Float[Tensor, "b width"],
    prototypes: Float[Tensor, "k width"],
    others: Float[Tensor, "m width"],
    temperature: float = 0.01,
) -> Float[Tensor, ""]:
    """The difference between the distances of the same images by two domains' clusters.

    An image is described by its distribution over a domain's clusters; the distance of two images is 1 − the cosine
    of their distributions. The term is the squared difference of both domains' distances, summed over the other images
    of the batch and averaged over the batch.

    Args:
        query: images of one domain.
        prototypes: cluster centers of one domain.
        others: cluster centers of the other; their number may differ.
        temperature: temperature of the distributions; published: .01.
    """
    first, second = (_cluster_distances(query, centers, temperature) for centers in (prototypes, others))
    return (first - second).square().sum(1).mean()


def _cluster_distances(
    query: Float[Tensor, "b width"], prototypes: Float[Tensor, "k width"], temperature: float
) -> Float[Tensor, "b b"]:
    distribution = F.normalize((query @ prototypes.T / temperature).softmax(1), dim=1)
    return 1 - distribution @ distribution.T
