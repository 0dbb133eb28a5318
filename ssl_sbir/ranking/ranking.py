"""Exact rankings: the first k results of each query."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save
from torch import Tensor

from ssl_sbir.files import write_atomic
from ssl_sbir.progress import show_progress
from ssl_sbir.ranking.similarity import TiledScores, cosine_scores
from ssl_sbir.ranking.sorting import top_k_items

TIE_RULE = "equal scores stay in gallery order"


@dataclass(frozen=True)
class Ranking:
    """The results of some queries, best first.

    Attributes:
        ids: [q, k] gallery items.
        scores: [q, k] their similarities.
        relevant: [q, k] whether they are of the query's class; None where classes are unknown.
        ties: the rule for equal scores.
    """

    ids: Int[Tensor, "q k"]
    scores: Float[Tensor, "q k"]
    relevant: Bool[Tensor, "q k"] | None = None
    ties: str = TIE_RULE

    def save(self, path: Path, **more: Tensor) -> None:
        """Writes all columns, and `more` ones, as safetensors."""
        columns = {"ids": self.ids.int(), "scores": self.scores.float(), **more}
        if self.relevant is not None:
            columns["relevant"] = self.relevant
        on_cpu = {name: column.contiguous().cpu() for name, column in columns.items()}
        write_atomic(path, save(on_cpu, metadata={"ties": self.ties}))


def rank_gallery(
    query: Float[Tensor, "q d"],
    gallery: Float[Tensor, "n d"],
    k: int,
    *,
    query_labels: Int[Tensor, " q"] | None = None,
    gallery_labels: Int[Tensor, " n"] | None = None,
    scores: TiledScores | None = None,
) -> Ranking:
    """The k most similar gallery items of each query, bit for bit independent of the number of queries.

    Args:
        query: [q, d].
        gallery: [n, d].
        k: how many; all where the gallery is smaller.
        query_labels: [q], to mark which results are relevant.
        gallery_labels: [n].
        scores: a similarity other than the cosine.
    """
    scores = scores or cosine_scores(query, gallery)
    buffer, parts = scores.new_tile_buffer(), []
    step = max(1, (1 << 22) // scores.num_items)
    with show_progress(len(query), "ranking", "query") as counter:
        for index in range(len(scores)):
            for rows in scores.compute_tile(index, buffer).split(step):
                parts.append(top_k_items(rows, k))
                counter.advance(len(rows))
    values, ids = (torch.cat(column) for column in zip(*parts, strict=True))
    known = query_labels is not None and gallery_labels is not None
    relevant = gallery_labels[ids] == query_labels[:, None] if known else None  # type: ignore[index]
    return Ranking(ids, values, relevant)
