"""Every measure of every protocol for every query, in one pass over the score matrix that is never held whole."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.evaluation.measures import Measure
from ssl_sbir.evaluation.protocols import GalleryRule, Protocol, Similarity
from ssl_sbir.evaluation.views import View, view
from ssl_sbir.progress import Counter, progress
from ssl_sbir.retrieval.order import best_first
from ssl_sbir.retrieval.relevance import Relevant, relevant, relevant_places, standing
from ssl_sbir.retrieval.scores import Scores, are_units, cosine, euclidean

Values = dict[str, Float[Tensor, " q"]]
Key = tuple[Similarity, GalleryRule]
BLOCK_SCORES = 1 << 21  # scores that one thread ranks at once (16 MB of keys)


@dataclass
class _Job:
    """One view under one similarity, the distinct measures wanted of it, and the values found so far."""

    view: View
    values: dict[Measure, Tensor] = field(default_factory=dict)

    @property
    def ties(self) -> bool:
        """Whether any measure needs to know which scores are equal."""
        return any(measure.ties != "stable" for measure in self.values)


@dataclass(frozen=True)
class _Labels:
    """Labels of queries and items as small integers (they are looked up often); numpy on the CPU."""

    query: Any
    gallery: Any


def per_query(
    query: Float[Tensor, "q d"],
    query_labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    gallery_labels: Int[Tensor, " n"],
    protocols: Sequence[Protocol],
    *,
    strides: tuple[int, int] = (20, 10),
    seed: int = 0,
    block: int | None = None,
    scores: Scores | None = None,
) -> dict[str, Values]:
    """For each protocol and metric the value of each query, NaN where a query takes no part.

    The result is the same, bit for bit, for every `block` and equal to a full sort of the same scores.

    Args:
        query: [q, d] on any device.
        query_labels: [q].
        gallery: [n, d].
        gallery_labels: [n].
        protocols: what to compute.
        strides: of queries and photos under the gallery rule `strided`.
        seed: of the draw under the gallery rule `one photo per query`.
        block: how many queries are ranked at once; bounds memory beside the tile of scores.
        scores: a similarity that takes the place of every protocol's own (binary codes).
    """
    kinds = _kinds(query, gallery, protocols, scores)
    jobs: dict[Key, _Job] = {}
    for p in protocols:
        key = kinds[p.similarity], p.gallery
        if key not in jobs:
            jobs[key] = _Job(view(p.gallery, query_labels, gallery_labels, strides=strides, seed=seed))
        for measure in p.measures().values():
            empty = query_labels.new_full((len(query),), torch.nan, dtype=torch.float64)
            jobs[key].values.setdefault(measure, empty)
    labels = _labels(query_labels, gallery_labels)
    with progress(len(query) * len(set(kinds.values())), "ranking", "query") as counter:
        for kind in dict.fromkeys(kinds.values()):
            found = scores or (cosine if kind == "cosine" else euclidean)(query, gallery)
            _run(found, labels, [job for (of, _), job in jobs.items() if of == kind], block, counter)
    return {
        p.name: {
            name: jobs[kinds[p.similarity], p.gallery].values[measure]
            for name, measure in p.measures().items()
        }
        for p in protocols
    }


def _kinds(
    query: Tensor, gallery: Tensor, protocols: Sequence[Protocol], scores: Scores | None
) -> dict[Similarity, Similarity]:
    """For each similarity the one that is computed: unit vectors have one order under both."""
    asked = {protocol.similarity for protocol in protocols}
    if scores is not None or (len(asked) == 2 and are_units(query) and are_units(gallery)):
        return dict.fromkeys(asked, "cosine")
    return {similarity: similarity for similarity in asked}


def _labels(query: Tensor, gallery: Tensor) -> _Labels:
    names, compact = torch.unique(torch.cat([query, gallery]), return_inverse=True)
    compact = compact.to(torch.int16 if len(names) < 2**15 else torch.int32)
    return _Labels(_native(compact[: len(query)]), _native(compact[len(query) :]))


def _native(values: Tensor | None) -> Any:
    return values.numpy() if values is not None and values.device.type == "cpu" else values


def _run(scores: Scores, labels: _Labels, jobs: list[_Job], block: int | None, counter: Counter) -> None:
    buffer = scores.buffer()
    step = block or max(1, BLOCK_SCORES // scores.items)
    each = _threads(torch.get_num_threads()).map if buffer.device.type == "cpu" else map
    for index in range(len(scores)):
        start, tile = index * scores.height, scores.tile(index, buffer)
        firsts = range(start, start + len(tile), step)
        parts = [tile[first - start : first - start + step] for first in firsts]
        list(each(partial(_rank, labels=labels, jobs=jobs), parts, firsts))
        counter.advance(len(tile))


def _rank(scores: Tensor, first: int, labels: _Labels, jobs: list[_Job]) -> None:
    """Ranks some queries and enters their values into every job."""
    order = best_first(scores)
    found = relevant_places(order, labels.query[first : first + len(scores)], labels.gallery)
    for job in jobs:
        rows = job.view.rows(first, first + len(scores))
        if len(rows) == 0:
            continue
        mine, places = order, found
        if job.view.stride > 1:
            mine = order.rows(slice(rows.start - first, None, rows.step))
            places = relevant_places(mine, labels.query[rows.start : rows.stop : rows.step], labels.gallery)
        standings = standing(mine, places, _native(job.view.weights), job.ties)
        _measure(job, rows, relevant(standings, job.view.items))


def _measure(job: _Job, rows: range, items: Relevant) -> None:
    found: dict[Measure, Tensor] = {}
    for measure, values in job.values.items():
        same = _same(measure, items.tied is not None)
        if same not in found:
            found[same] = same(items)
        values[rows.start : rows.stop : rows.step] = found[same]


@cache
def _same(measure: Measure, tied: bool) -> Measure:
    """The measure under the simplest tie rule that gives the same value."""
    return measure.under(measure.ties if tied else "stable")


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="rank")
