"""Which classes come back for which."""

from dataclasses import dataclass

import torch
from jaxtyping import Float

from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures
from ssl_sbir.ranking.ranking import Ranking

LARGEST_CONFUSIONS = 12


@dataclass(frozen=True)
class Confusion:
    """Classes against each other.

    Attributes:
        names: classes that are asked for.
        table: [c, c] mean share of the first results of a class's sketches that are of another.
        pairs: the largest shares between two classes: asked for, came back, share.
        k: how many results were looked at.
    """

    names: list[str]
    table: Float[torch.Tensor, "c c"]
    pairs: list[tuple[str, str, float]]
    k: int


def compute_confusion(features: RetrievalFeatures, ranking: Ranking) -> Confusion:
    """The confusion of classes among the first results."""
    asked = features.query_labels.unique()
    count, k = len(features.classes), ranking.ids.shape[1]
    came = features.gallery_labels[ranking.ids]
    flat = features.query_labels[:, None] * count + came
    sums = torch.bincount(flat.reshape(-1), minlength=count * count).view(count, count).double()
    shares = sums / sums.sum(1, keepdim=True).clamp(min=1)
    table = shares[asked][:, asked].cpu()
    off = shares.cpu().clone().fill_diagonal_(0)
    best = off.reshape(-1).topk(min(LARGEST_CONFUSIONS, count * count))
    pairs = [
        (features.classes[place // count], features.classes[place % count], value)
        for value, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        if value > 0
    ]
    return Confusion([features.classes[label] for label in asked.tolist()], table, pairs, k)
