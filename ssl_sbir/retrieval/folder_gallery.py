"""A gallery in a folder: rows in segments, searched exactly or by faiss."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.progress import progress
from ssl_sbir.retrieval.engines import Search, search_of
from ssl_sbir.retrieval.exact import ExactSearch
from ssl_sbir.retrieval.gallery import WAIT, Metadata, Neighbour, best_of, checked_items, checked_vectors
from ssl_sbir.retrieval.rows import Rows

SPARE = (
    16  # candidates beyond k: what engines round differently at the edge is put in order by the final scores
)
SAMPLE = 100


class FolderGallery:
    """See `Gallery`. Scores don't depend on the engine: candidates are scored anew in float64.

    Equal scores stay in gallery order, which is the order of adding.

    Args:
        folder: an index that `create_gallery` made.
        device: where exact search computes.

    Raises:
        GalleryError: there is no index, or it is damaged, or its engine isn't installed.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self._store = Rows(folder)
        self._search = self._store.search = search_of(self._store.engine, device)
        self.engine, self.width = self._store.engine, self._store.width

    @property
    def facts(self) -> dict[str, Any]:
        """What was noted about the index."""
        return self._store.facts

    def __len__(self) -> int:
        return len(self._store)

    def add(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata] | None = None
    ) -> None:
        """See `Gallery.add`."""
        whole, facts = checked_items(ids, vectors, metadata, self.width)
        if len(ids):
            self._store.append(ids, whole, facts)

    def remove(self, ids: Collection[str]) -> int:
        """See `Gallery.remove`."""
        return self._store.remove(ids)

    def search(self, vectors: Float[Tensor, "q d"], k: int) -> list[list[Neighbour]]:
        """See `Gallery.search`."""
        return self._found(self._search, checked_vectors(vectors, self.width, "query"), k)

    def vectors(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """See `Gallery.vectors`."""
        rows = self._store.rows_of(ids)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise GalleryError(f"no item {ids[missing[0]]!r} in this index", "Ids are those of its results.")
        return self._store.gathered(torch.from_numpy(rows))

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Gallery.items`."""
        return self._store.items()

    def note(self, **facts: Any) -> None:
        """See `Gallery.note`."""
        self._store.note(**facts)

    def writing(self, wait: float = WAIT) -> AbstractContextManager[None]:
        """See `Gallery.writing`."""
        return self._store.writing(wait)

    def close(self) -> None:
        """Lets go of what the engine holds."""
        self._search.forget([])

    def recall(self, k: int = 10, queries: Float[Tensor, "q d"] | None = None) -> float:
        """The share of the k truly nearest items that the engine finds, averaged over queries; 1 for exact ones.

        Args:
            k: how many.
            queries: [q, d]; by default up to 100 stored vectors, evenly spaced.
        """
        if queries is None:
            rows = torch.linspace(0, self._store.rows - 1, min(SAMPLE, self._store.rows)).long()
            queries = self._store.gathered(rows)
        true = self._found(ExactSearch("cpu"), queries, k)
        found = self._found(self._search, queries, k)
        hits = sum(
            len({it.id for it in ours} & {it.id for it in theirs})
            for ours, theirs in zip(found, true, strict=True)
        )
        return hits / max(1, sum(map(len, true)))

    def _found(self, search: Search, queries: Float[Tensor, "q d"], k: int) -> list[list[Neighbour]]:
        k = min(k, len(self))
        if k < 1 or not len(queries):
            return [[] for _ in queries]
        search.forget(self._store.segments)
        scores, rows = self._candidates(search, queries, k + SPARE)
        exact = self._store.scored(queries, scores, rows)
        scores, rows = best_of(exact, rows, k)
        return [
            [self._neighbour(*pair) for pair in zip(ours, theirs, strict=True) if pair[0] > -np.inf]
            for ours, theirs in zip(scores.tolist(), rows.tolist(), strict=True)
        ]

    def _candidates(
        self, search: Search, queries: Tensor, k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        found, first = [], 0
        with progress(self._store.rows * len(queries), "searching", "product") as counter:
            for segment in self._store.segments:
                scores, rows = search.nearest(segment, queries, min(k, len(segment)))
                found.append((scores, rows + first))
                first += len(segment)
                counter.advance(len(segment) * len(queries))
        scores, rows = (torch.cat(column, 1) for column in zip(*found, strict=True))
        kept, places = scores.topk(min(k, scores.shape[1]), dim=1)
        return kept, rows.gather(1, places)

    def _neighbour(self, score: float, row: int) -> Neighbour:
        segment, place = self._store.place(row)
        return Neighbour(segment.id_of(place), score, segment.metadata_of(place))
