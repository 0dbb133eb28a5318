"""A gallery in a folder: rows in segments, searched exactly or by faiss."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.gallery.base import (
    WRITE_WAIT_SECONDS,
    Metadata,
    Neighbour,
    top_k_columns,
    validate_items,
    validate_vectors,
)
from ssl_sbir.gallery.exact import ExactSearch
from ssl_sbir.gallery.faiss import FaissSearch
from ssl_sbir.gallery.segments import Segment, SegmentWriter, hash_ids
from ssl_sbir.gallery.store import SegmentStore
from ssl_sbir.progress import show_progress

SPARE_CANDIDATES = (
    16  # beyond k: engines round differently, and the final scores decide who is among the first k
)
RESCORE_BYTES = 64 << 20  # of candidates' vectors at a time
RECALL_SAMPLE_SIZE = 100
APPROXIMATE_ENGINES = ("faiss:hnsw", "faiss:ivf")


@runtime_checkable
class SegmentSearch(Protocol):
    """Searches the rows of one segment."""

    def build_index(self, folder: Path, segment: Segment) -> None:
        """Writes what the engine needs into the folder of a segment."""

    def nearest_rows(
        self, segment: Segment, queries: Float[Tensor, "q d"], k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Scores and rows of about the k best of each query, unordered; −inf where there are fewer."""

    def keep_only(self, segments: Sequence[Segment]) -> None:
        """Releases what is cached of other segments."""


class FolderGallery:
    """See `Gallery`. Scores don't depend on the engine: candidates are scored again in float64.

    Equal scores stay in gallery order, the order of adding.

    Args:
        folder: an index made by `create_gallery`.
        device: where exact search computes.

    Raises:
        GalleryError: there is no index, it is damaged, or its engine isn't installed.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self._store = _SearchableStore(folder)
        self._search = self._store.search = create_segment_search(self._store.engine, device)
        self.engine, self.width = self._store.engine, self._store.width

    @property
    def facts(self) -> dict[str, Any]:
        """See `Gallery.facts`."""
        return self._store.facts

    def __len__(self) -> int:
        return len(self._store)

    def add(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata] | None = None
    ) -> None:
        """See `Gallery.add`."""
        unit, stored = validate_items(ids, vectors, metadata, self.width)
        if len(ids):
            self._store.append_rows(ids, unit, stored)

    def remove(self, ids: Collection[str]) -> int:
        """See `Gallery.remove`."""
        return self._store.remove(ids)

    def search(self, vectors: Float[Tensor, "q d"], k: int) -> list[list[Neighbour]]:
        """See `Gallery.search`."""
        return self._search_with(self._search, validate_vectors(vectors, self.width, "query"), k)

    def get_vectors(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """See `Gallery.get_vectors`."""
        rows = self._store.find_rows(ids)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise GalleryError(f"no item {ids[missing[0]]!r} in this index", "Ids are those of its results.")
        return self._store.gather_vectors(torch.from_numpy(rows))

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Gallery.items`."""
        return self._store.items()

    def update_facts(self, **facts: Any) -> None:
        """See `Gallery.update_facts`."""
        self._store.update_facts(**facts)

    def write_transaction(self, wait: float = WRITE_WAIT_SECONDS) -> AbstractContextManager[None]:
        """See `Gallery.write_transaction`."""
        return self._store.write_transaction(wait)

    def close(self) -> None:
        """See `Gallery.close`."""
        self._search.keep_only([])

    def measure_recall(self, k: int = 10, queries: Float[Tensor, "q d"] | None = None) -> float:
        """The fraction of the k truly nearest items that the engine finds, over all queries; 1 for exact engines.

        Args:
            k: how many.
            queries: [q, d]; by default up to 100 stored vectors, evenly spaced.
        """
        if queries is None:
            rows = torch.linspace(
                0, self._store.num_rows - 1, min(RECALL_SAMPLE_SIZE, self._store.num_rows)
            ).long()
            queries = self._store.gather_vectors(rows)
        exact = self._search_with(ExactSearch("cpu"), queries, k)
        found = self._search_with(self._search, queries, k)
        hits = sum(
            len({item.id for item in ours} & {item.id for item in true})
            for ours, true in zip(found, exact, strict=True)
        )
        return hits / max(1, sum(map(len, exact)))

    def recall_facts(self) -> dict[str, float]:
        """See `Gallery.recall_facts`."""
        return {"recall@10": self.measure_recall(10)} if self.engine in APPROXIMATE_ENGINES else {}

    def _search_with(
        self, search: SegmentSearch, queries: Float[Tensor, "q d"], k: int
    ) -> list[list[Neighbour]]:
        k = min(k, len(self))
        if k < 1 or not len(queries):
            return [[] for _ in queries]
        search.keep_only(self._store.segments)
        scores, rows = self._find_candidates(search, queries, k + SPARE_CANDIDATES)
        exact = self._store.rescore_candidates(queries, scores, rows)
        scores, rows = top_k_columns(exact, rows, k)
        return [
            [self._to_neighbour(*pair) for pair in zip(ours, theirs, strict=True) if pair[0] > -np.inf]
            for ours, theirs in zip(scores.tolist(), rows.tolist(), strict=True)
        ]

    def _find_candidates(
        self, search: SegmentSearch, queries: Tensor, k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        found, offset = [], 0
        with show_progress(self._store.num_rows * len(queries), "searching", "product") as counter:
            for segment in self._store.segments:
                scores, rows = search.nearest_rows(segment, queries, min(k, len(segment)))
                found.append((scores, rows + offset))
                offset += len(segment)
                counter.advance(len(segment) * len(queries))
        scores, rows = (torch.cat(column, 1) for column in zip(*found, strict=True))
        best, columns = scores.topk(min(k, scores.shape[1]), dim=1)
        return best, rows.gather(1, columns)

    def _to_neighbour(self, score: float, row: int) -> Neighbour:
        segment, own_row = self._store.locate_row(row)
        return Neighbour(segment.id_of(own_row), score, segment.metadata_of(own_row))


class _SearchableStore(SegmentStore):
    """A store whose finished segments get an engine's index, and whose rows are numbered across segments."""

    search: SegmentSearch

    def build_segment_index(self, draft: SegmentWriter) -> None:
        self.search.build_index(draft.folder, Segment(self.folder, draft.folder.name, draft.rows, self.width))

    @property
    def num_rows(self) -> int:
        return sum(map(len, self.segments))

    def find_rows(self, ids: Sequence[str]) -> np.ndarray:
        keys, offset, found = hash_ids(ids), 0, np.full(len(ids), -1, dtype=np.int64)
        for segment in self.segments:
            rows = segment.find_rows(ids, keys)
            found = np.where(rows >= 0, rows + offset, found)
            offset += len(segment)
        return found

    def locate_row(self, row: int) -> tuple[Segment, int]:
        for segment in self.segments:
            if row < len(segment):
                return segment, row
            row -= len(segment)
        raise IndexError(row)

    def gather_vectors(self, rows: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        vectors, offset = torch.empty(len(rows), self.width), 0
        for segment in self.segments:
            here = ((rows >= offset) & (rows < offset + len(segment))).nonzero()[:, 0]
            vectors[here] = torch.from_numpy(segment.vectors[(rows[here] - offset).numpy()])
            offset += len(segment)
        return vectors

    def rescore_candidates(
        self, queries: Float[Tensor, "q d"], scores: Float[Tensor, "q c"], rows: Int64[Tensor, "q c"]
    ) -> Float[Tensor, "q c"]:
        """The scores computed again in float64, row by row, so that every engine gives the same bits."""
        exact = torch.empty_like(scores)
        step = max(1, RESCORE_BYTES // (8 * self.width * rows.shape[1]))
        for start in range(0, len(queries), step):
            part = rows[start : start + step]
            vectors = self.gather_vectors(part.clamp(min=0).flatten()).view(*part.shape, self.width)
            products = vectors.double() * queries[start : start + step, None].double()
            exact[start : start + step] = products.sum(2).float()
        return exact.masked_fill_(scores == -torch.inf, -torch.inf)


def create_segment_search(engine: str, device: str = "cpu") -> SegmentSearch:
    """The search of a folder engine.

    Raises:
        GalleryError: the engine is unknown or isn't installed.
    """
    name, _, kind = engine.partition(":")
    if name == "exact" and not kind:
        return ExactSearch(device)
    if name == "faiss":
        return FaissSearch(kind or "flat")
    raise GalleryError(
        f"unknown engine '{engine}'", "One of: exact, faiss, faiss:hnsw, faiss:ivf, milvus:URI"
    )
