"""Which classes are retrieved for the sketches of each class."""

from dataclasses import dataclass

import torch
from jaxtyping import Float

from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures
from ssl_sbir.ranking.ranking import Ranking

LARGEST_CONFUSIONS = 12


@dataclass(frozen=True)
class Confusion:
    """Shares of classes among the first results.

    Attributes:
        names: classes with queries.
        table: [c, c] mean share of the first results of a class's sketches (row) that are of each class (column).
        pairs: the largest shares between two classes: of the sketches, of the results, share.
        k: results per sketch.
    """

    names: list[str]
    table: Float[torch.Tensor, "c c"]
    pairs: list[tuple[str, str, float]]
    k: int


def compute_confusion(features: RetrievalFeatures, ranking: Ranking) -> Confusion:
    """The confusion of classes among the first results."""
    query_classes = features.query_labels.unique()
    count, k = len(features.classes), ranking.ids.shape[1]
    flat = features.query_labels[:, None] * count + features.gallery_labels[ranking.ids]
    sums = torch.bincount(flat.reshape(-1), minlength=count * count).view(count, count).double()
    shares = sums / sums.sum(1, keepdim=True).clamp(min=1)
    table = shares[query_classes][:, query_classes].cpu()
    mistakes = shares.cpu().clone().fill_diagonal_(0)
    largest = mistakes.reshape(-1).topk(min(LARGEST_CONFUSIONS, count * count))
    pairs = [
        (features.classes[index // count], features.classes[index % count], value)
        for value, index in zip(largest.values.tolist(), largest.indices.tolist(), strict=True)
        if value > 0
    ]
    return Confusion([features.classes[label] for label in query_classes.tolist()], table, pairs, k)
