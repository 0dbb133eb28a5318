"""The rows of an index, numbered across its segments in gallery order."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ssl_sbir.retrieval.engines import Search
from ssl_sbir.retrieval.segments import Draft, Segment, keys_of
from ssl_sbir.retrieval.store import Store

GATHERED = 64 << 20  # bytes of candidates' vectors at a time


class Rows(Store):
    """A store whose finished segments an engine adds to.

    Attributes:
        search: the engine.
    """

    search: Search

    def built(self, draft: Draft) -> None:
        """Lets the engine add its files to a finished segment's folder."""
        self.search.build(draft.folder, Segment(self.folder, draft.folder.name, draft.rows, self.width))

    @property
    def rows(self) -> int:
        """How many rows there are, gone ones included."""
        return sum(map(len, self.segments))

    def rows_of(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """The row of each item, −1 where there is none."""
        keys, first, found = keys_of(ids), 0, np.full(len(ids), -1, dtype=np.int64)
        for segment in self.segments:
            rows = segment.rows_of(ids, keys)
            found = np.where(rows >= 0, rows + first, found)
            first += len(segment)
        return found

    def place(self, row: int) -> tuple[Segment, int]:
        """The segment of a row, and its row in there."""
        for segment in self.segments:
            if row < len(segment):
                return segment, row
            row -= len(segment)
        raise IndexError(row)

    def gathered(self, rows: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The vectors of some rows, read into memory."""
        vectors, first = torch.empty(len(rows), self.width), 0
        for segment in self.segments:
            here = ((rows >= first) & (rows < first + len(segment))).nonzero()[:, 0]
            vectors[here] = torch.from_numpy(segment.vectors[(rows[here] - first).numpy()])
            first += len(segment)
        return vectors

    def scored(
        self, queries: Float[Tensor, "q d"], scores: Float[Tensor, "q c"], rows: Int64[Tensor, "q c"]
    ) -> Float[Tensor, "q c"]:
        """The scores computed anew, row by row in float64, so that they have the same bits for every engine."""
        exact = torch.empty_like(scores)
        step = max(1, GATHERED // (8 * self.width * rows.shape[1]))
        for start in range(0, len(queries), step):
            part = rows[start : start + step]
            vectors = self.gathered(part.clamp(min=0).flatten()).view(*part.shape, self.width)
            products = vectors.double() * queries[start : start + step, None].double()
            exact[start : start + step] = products.sum(2).float()
        return exact.masked_fill_(scores == -torch.inf, -torch.inf)
