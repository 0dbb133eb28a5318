"""Every measure of every protocol for every query, in one pass over blocks of the score matrix."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.evaluation.metrics.measures import RankingMeasure
from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol, GalleryRule, Similarity
from ssl_sbir.evaluation.metrics.query_and_gallery_views import GalleryView, gallery_view
from ssl_sbir.progress import ProgressCounter, show_progress
from ssl_sbir.ranking.relevance import (
    RelevantRanks,
    find_relevant_indices,
    flat_relevant_ranks,
    pad_relevant_ranks,
)
from ssl_sbir.ranking.similarity import TiledScores, are_unit_vectors, cosine_scores, euclidean_scores
from ssl_sbir.ranking.sorting import sort_best_first

ValuesByMetric = dict[str, Float[Tensor, " q"]]
JobKey = tuple[Similarity, GalleryRule]
BLOCK_SCORES = 1 << 21  # scores ranked at once by a thread (16 MB of keys)


@dataclass
class _RankingJob:
    """One gallery view under one similarity, with the values of the distinct measures computed so far."""

    view: GalleryView
    values: dict[RankingMeasure, Tensor] = field(default_factory=dict)

    @property
    def needs_ties(self) -> bool:
        """Whether any measure depends on which scores are equal."""
        return any(measure.ties != "stable" for measure in self.values)


@dataclass(frozen=True)
class _CompactLabels:
    """Labels of queries and items as small integers, for fast lookup; numpy on the CPU."""

    query: Any
    gallery: Any


def compute_query_values(
    query: Float[Tensor, "q d"],
    query_labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    gallery_labels: Int[Tensor, " n"],
    protocols: Sequence[EvaluationProtocol],
    *,
    strides: tuple[int, int] = (20, 10),
    seed: int = 0,
    block: int | None = None,
    scores: TiledScores | None = None,
) -> dict[str, ValuesByMetric]:
    """For each protocol and metric the value of each query; NaN where the protocol doesn't use the query.

    The result is the same, bit for bit, for every `block` and equal to a full sort of the same scores.

    Args:
        query: [q, d] on any device.
        query_labels: [q].
        gallery: [n, d].
        gallery_labels: [n].
        protocols: what to compute.
        strides: of queries and photos under the gallery rule `strided`.
        seed: of the sample under the gallery rule `one photo per query`.
        block: queries ranked at once; bounds the memory beside the tile of scores.
        scores: a similarity that replaces every protocol's own (binary codes).
    """
    kinds = _similarities_to_compute(query, gallery, protocols, scores)
    jobs: dict[JobKey, _RankingJob] = {}
    for p in protocols:
        key = kinds[p.similarity], p.gallery
        if key not in jobs:
            jobs[key] = _RankingJob(
                gallery_view(p.gallery, query_labels, gallery_labels, strides=strides, seed=seed)
            )
        for measure in p.build_measures().values():
            empty = query_labels.new_full((len(query),), torch.nan, dtype=torch.float64)
            jobs[key].values.setdefault(measure, empty)
    labels = _compact_labels(query_labels, gallery_labels)
    with show_progress(len(query) * len(set(kinds.values())), "ranking", "query") as counter:
        for kind in dict.fromkeys(kinds.values()):
            tiles = scores or (cosine_scores if kind == "cosine" else euclidean_scores)(query, gallery)
            same_kind = [job for (similarity, _), job in jobs.items() if similarity == kind]
            _rank_all_queries(tiles, labels, same_kind, block, counter)
    return {
        p.name: {
            name: jobs[kinds[p.similarity], p.gallery].values[measure]
            for name, measure in p.build_measures().items()
        }
        for p in protocols
    }


def _similarities_to_compute(
    query: Tensor, gallery: Tensor, protocols: Sequence[EvaluationProtocol], scores: TiledScores | None
) -> dict[Similarity, Similarity]:
    """For each similarity the one to compute: for unit vectors both give the same ranking."""
    wanted = {protocol.similarity for protocol in protocols}
    if scores is not None or (len(wanted) == 2 and are_unit_vectors(query) and are_unit_vectors(gallery)):
        return dict.fromkeys(wanted, "cosine")
    return {similarity: similarity for similarity in wanted}


def _compact_labels(query: Tensor, gallery: Tensor) -> _CompactLabels:
    names, compact = torch.unique(torch.cat([query, gallery]), return_inverse=True)
    compact = compact.to(torch.int16 if len(names) < 2**15 else torch.int32)
    return _CompactLabels(_to_numpy_on_cpu(compact[: len(query)]), _to_numpy_on_cpu(compact[len(query) :]))


def _to_numpy_on_cpu(values: Tensor | None) -> Any:
    return values.numpy() if values is not None and values.device.type == "cpu" else values


def _rank_all_queries(
    scores: TiledScores,
    labels: _CompactLabels,
    jobs: list[_RankingJob],
    block: int | None,
    counter: ProgressCounter,
) -> None:
    buffer = scores.new_tile_buffer()
    step = block or max(1, BLOCK_SCORES // scores.num_items)
    map_blocks = _ranking_thread_pool(torch.get_num_threads()).map if buffer.device.type == "cpu" else map
    for index in range(len(scores)):
        start, tile = index * scores.tile_height, scores.compute_tile(index, buffer)
        firsts = range(start, start + len(tile), step)
        parts = [tile[first - start : first - start + step] for first in firsts]
        list(map_blocks(partial(_rank_query_block, labels=labels, jobs=jobs), parts, firsts))
        counter.advance(len(tile))


def _rank_query_block(scores: Tensor, first: int, labels: _CompactLabels, jobs: list[_RankingJob]) -> None:
    """Ranks a block of queries and stores their values in every job."""
    whole_order = sort_best_first(scores)
    whole_relevant = find_relevant_indices(
        whole_order, labels.query[first : first + len(scores)], labels.gallery
    )
    for job in jobs:
        rows = job.view.query_rows(first, first + len(scores))
        if len(rows) == 0:
            continue
        order, relevant = whole_order, whole_relevant
        if job.view.stride > 1:
            order = whole_order.select_queries(slice(rows.start - first, None, rows.step))
            relevant = find_relevant_indices(
                order, labels.query[rows.start : rows.stop : rows.step], labels.gallery
            )
        ranks = flat_relevant_ranks(order, relevant, _to_numpy_on_cpu(job.view.weights), job.needs_ties)
        _store_measured_values(job, rows, pad_relevant_ranks(ranks, job.view.gallery_size))


def _store_measured_values(job: _RankingJob, rows: range, items: RelevantRanks) -> None:
    computed: dict[RankingMeasure, Tensor] = {}
    for measure, values in job.values.items():
        simplest = _simplest_measure(measure, items.tied is not None)
        if simplest not in computed:
            computed[simplest] = simplest(items)
        values[rows.start : rows.stop : rows.step] = computed[simplest]


@cache
def _simplest_measure(measure: RankingMeasure, tied: bool) -> RankingMeasure:
    """The measure under the simplest tie rule that gives the same value."""
    return measure.with_ties(measure.ties if tied else "stable")


@cache
def _ranking_thread_pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="rank")
