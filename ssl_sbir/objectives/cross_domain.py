"""Four terms that bring two domains together without a pair or a label (UCDIR).

C. Hu, G. H. Lee: Feature Representation Learning for Unsupervised Cross-domain Image Retrieval, ECCV 2022.
Features are unit vectors; `memory` holds the last key of every image of a domain.
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
    """Each image finds its own key among those of its whole domain. Chance is ln n.

    Args:
        query: views of some images.
        memory_bank: keys of all images of their domain, those of this batch already new.
        index: of the images in the memory.
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
    """Each image finds every key of its cluster: mean log-probability over them; 0 where no image is sure.

    Args:
        query: views of some images.
        memory_bank: keys of all images of their domain.
        cluster: of the images.
        key_clusters: of the keys.
        confident: whose cluster is trusted (see `is_confident_cluster`).
        temperature: divides the cosines.
    """
    alike = (cluster[:, None] == key_clusters).float()
    likely = (query @ memory_bank.T / temperature).log_softmax(1)
    mean = (alike * likely).sum(1) / alike.sum(1).clamp(min=1)
    return -(confident * mean).sum() / confident.sum().clamp(min=1)


def is_confident_cluster(
    key: Float[Tensor, "b width"],
    prototypes: Float[Tensor, "k width"],
    cluster: Int[Tensor, " b"],
    temperature: float,
    threshold: float,
) -> Bool[Tensor, " b"]:
    """Which images' keys give their own cluster a probability above the threshold."""
    chance = (key @ prototypes.T / temperature).softmax(1)
    return chance.gather(1, cluster[:, None])[:, 0] > threshold


def self_entropy(
    query: Float[Tensor, "b width"], prototypes: Float[Tensor, "k width"], temperature: float
) -> Float[Tensor, ""]:
    """The mean entropy of images' distributions over some domain's clusters: low once each is near one of them."""
    logits = query @ prototypes.T / temperature
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def distance_of_distances(
    query: Float[Tensor, "b width"],
    prototypes: Float[Tensor, "k width"],
    others: Float[Tensor, "m width"],
    temperature: float = 0.01,
) -> Float[Tensor, ""]:
    """How differently two domains' clusters see the distances between the same images.

    By each domain an image is described by its distribution over that domain's clusters; two images are as far
    apart as 1 − the cosine of theirs. The term is the squared difference of both distances, summed over an image's
    neighbours in the batch and averaged over the batch.

    Args:
        query: images of one domain.
        prototypes: clusters of a domain.
        others: clusters of the other one; their number may differ.
        temperature: of the distributions; published: .01.
    """
    near, far = (_cluster_distances(query, centres, temperature) for centres in (prototypes, others))
    return (near - far).square().sum(1).mean()


def _cluster_distances(
    query: Float[Tensor, "b width"], prototypes: Float[Tensor, "k width"], temperature: float
) -> Float[Tensor, "b b"]:
    belief = F.normalize((query @ prototypes.T / temperature).softmax(1), dim=1)
    return 1 - belief @ belief.T
