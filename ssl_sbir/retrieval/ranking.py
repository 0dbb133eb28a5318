"""The value that metrics, audits, pictures and explanations read: who came back for whom, best first."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.retrieval.order import top
from ssl_sbir.retrieval.scores import cosine


@dataclass(frozen=True)
class Ranking:
    """The first k gallery items of each query; ties stand in gallery order.

    Attributes:
        items: [q, k] places in the gallery, best first.
        scores: [q, k] cosines, falling.
        relevant: [q, k] whether an item has its query's class.
    """

    items: Int[Tensor, "q k"]
    scores: Float[Tensor, "q k"]
    relevant: Bool[Tensor, "q k"]


def rank(
    query: Float[Tensor, "q d"],
    query_labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    gallery_labels: Int[Tensor, " n"],
    k: int,
) -> Ranking:
    """The exact ranking by cosine, its first k (at most n) places; computed in tiles of queries."""
    scores = cosine(query, gallery)
    buffer = scores.buffer()
    tiles = [top(scores.tile(index, buffer), min(k, len(gallery))) for index in range(len(scores))]
    items = torch.cat([items for _, items in tiles])
    return Ranking(
        items, torch.cat([values for values, _ in tiles]), gallery_labels[items] == query_labels[:, None]
    )
