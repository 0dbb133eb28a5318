"""Exact search by the product with every row, block by block; other engines are tested against it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ssl_sbir.gallery.segments import Segment

EXACT_BLOCK_ROWS = 32_768
EXACT_QUERY_BATCH = 256


class ExactSearch:
    """Compares queries with every row. On a GPU with enough memory, rows stay there between searches.

    Args:
        device: where to compute.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._resident: dict[tuple[Path, int], Tensor] = {}

    def build_index(self, folder: Path, segment: Segment) -> None:
        """Does nothing: the rows themselves are searched."""

    def nearest_rows(
        self, segment: Segment, queries: Float[Tensor, "q d"], k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Scores and rows of the k best of each query, unordered; −inf where there are fewer."""
        queries, best = queries.to(self.device), _empty_best_rows(len(queries), k, self.device)
        for start in range(0, len(segment), EXACT_BLOCK_ROWS):
            block = self._load_block(segment, start)
            gone = torch.from_numpy(segment.gone[start : start + EXACT_BLOCK_ROWS]).to(self.device)
            best = [
                _merge_best_rows(one, part @ block.T, gone, start, k)
                for one, part in zip(best, queries.split(EXACT_QUERY_BATCH), strict=True)
            ]
        scores, rows = (torch.cat(column).cpu() for column in zip(*best, strict=True))
        return scores, rows

    def keep_only(self, segments: Sequence[Segment]) -> None:
        """Releases what is cached of other segments."""
        folders = {segment.folder for segment in segments}
        self._resident = {key: block for key, block in self._resident.items() if key[0] in folders}

    def _load_block(self, segment: Segment, start: int) -> Float[Tensor, "b d"]:
        key = segment.folder, start
        if key in self._resident:
            return self._resident[key]
        block = segment.block_vectors(start, EXACT_BLOCK_ROWS).to(self.device)
        if self.device.type == "cuda" and torch.cuda.mem_get_info(self.device)[0] > 8 * block.nbytes:
            self._resident[key] = block
        return block


BestRows = tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]


def _empty_best_rows(queries: int, k: int, device: torch.device) -> list[BestRows]:
    parts = torch.arange(queries).split(EXACT_QUERY_BATCH)
    return [
        (
            torch.full((len(part), k), -torch.inf, device=device),
            torch.full((len(part), k), -1, device=device),
        )
        for part in parts
    ]


def _merge_best_rows(best: BestRows, scores: Tensor, gone: Tensor, start: int, k: int) -> BestRows:
    scores.masked_fill_(gone, -torch.inf)
    top, rows = _top_k_in_row_order(scores, min(k, scores.shape[1]))
    # Earlier blocks have lower rows: they come first, so that the lower of equally scored rows stay.
    scores, rows = torch.cat([best[0], top], 1), torch.cat([best[1], rows + start], 1)
    merged, columns = scores.sort(dim=1, descending=True, stable=True)
    return merged[:, :k], rows.gather(1, columns[:, :k])


def _top_k_in_row_order(scores: Float[Tensor, "q n"], k: int) -> BestRows:
    """The k best scores of each query and their rows, in the order of the rows; of equal scores the first."""
    top, rows = scores.topk(k, dim=1)
    least = top[:, -1:]
    beyond = (scores >= least).sum(1) > k
    tied = (beyond & (least[:, 0] > -torch.inf)).nonzero()[:, 0]
    if len(tied):  # topk chooses any of those that tie for the last rank
        whole, order = scores[tied].sort(dim=1, descending=True, stable=True)
        top[tied], rows[tied] = whole[:, :k], order[:, :k]
    rows, order = rows.sort(dim=1)
    return top.gather(1, order), rows
