"""Similarity of every query to every gallery item, one tile of queries at a time.

Scores have the same bits however many queries are ranked at once: a tile's height depends on the gallery
alone, a query's place in its tile on its row alone, and equal gallery vectors are scored once, so that they tie
exactly whatever the matrix library does at its edges.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

TILE_BYTES = 64 << 20
SCORE_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class TiledScores:
    """The similarity of `query` rows to gallery items, computed on demand; higher is nearer.

    Attributes:
        query: [q, d] what the product takes from the query side.
        gallery: [u, d] the distinct gallery vectors.
        distinct_index: [n] the row of `gallery` that belongs to each gallery item; None where all are distinct.
    """

    query: Float[Tensor, "q d"]
    gallery: Float[Tensor, "u d"]
    distinct_index: Int[Tensor, " n"] | None = None

    @property
    def num_items(self) -> int:
        """How many gallery items there are."""
        return len(self.gallery) if self.distinct_index is None else len(self.distinct_index)

    @property
    def tile_height(self) -> int:
        """Queries in a tile: a power of two that keeps a tile near 64 MB (8 to 1,024)."""
        fit = TILE_BYTES // (self.num_items * self.gallery.element_size())
        return min(1024, max(8, 1 << max(0, fit.bit_length() - 1)))

    def __len__(self) -> int:
        """The number of tiles."""
        return -(-len(self.query) // self.tile_height)

    def compute_tile(self, index: int, out: Tensor | None = None) -> Float[Tensor, "t n"]:
        """Scores of the queries `index * height` and following, [t, n] with t ≤ height.

        Args:
            index: which tile.
            out: [height, u] memory to compute in; its content is lost.
        """
        rows = self.query[index * self.tile_height : (index + 1) * self.tile_height]
        scores = torch.mm(_pad_tile_rows(rows, self.tile_height), self.gallery.T, out=out)[: len(rows)]
        return scores if self.distinct_index is None else scores.index_select(1, self.distinct_index)

    def new_tile_buffer(self) -> Float[Tensor, "t u"]:
        """Memory for one tile, to be handed to `compute_tile` again and again."""
        return self.gallery.new_empty(self.tile_height, len(self.gallery))


def cosine_scores(query: Float[Tensor, "q d"], gallery: Float[Tensor, "n d"]) -> TiledScores:
    """Scores that are cosines (−1..1), in float64 where a side is float64 and in float32 otherwise."""
    dtype = _working_dtype(query, gallery)
    return _deduplicated_scores(_unit_rows(query, dtype), _unit_rows(gallery, dtype))


def euclidean_scores(query: Float[Tensor, "q d"], gallery: Float[Tensor, "n d"]) -> TiledScores:
    """Scores that fall with the Euclidean distance: q·g − |g|²/2.

    Any decreasing function of the distance (exp(−d), 1/(1+d)) gives the same order. Both sides are moved first, by
    the gallery's mean rounded to a power of two near its spread: that saves the digits which a large common
    offset would eat, and keeps distances between vectors on a lattice (codes, counts) exact, ties included.
    """
    dtype = _working_dtype(query, gallery)
    centre = _coarse_center(gallery)
    q, g = _centered_rows(query, centre, dtype), _centered_rows(gallery, centre, dtype)
    half = (g.double().square().sum(1, keepdim=True) / -2).to(dtype)
    return _deduplicated_scores(torch.cat([q, q.new_ones(len(q), 1)], 1), torch.cat([g, half], 1))


def are_unit_vectors(features: Float[Tensor, "n d"]) -> bool:
    """Whether all rows have length 1 up to rounding, so that cosine and Euclidean order are the same."""
    slack = 8 * torch.finfo(features.dtype).eps
    return bool((_row_norms(features) - 1).abs().max() <= slack)


def distinct_rows(rows: Tensor) -> tuple[Int[Tensor, " u"], Int[Tensor, " n"]]:
    """Which rows are the first of their kind, and for each row the place of its first copy among those.

    Args:
        rows: [n, …] of any dtype; rows are equal when all their bytes are (−0 counts as 0).
    """
    flat = rows.reshape(len(rows), -1).contiguous()
    first = _first_copies(flat)
    kinds, place = torch.unique(first, return_inverse=True)
    return kinds, place


def _first_copies(flat: Tensor) -> Int[Tensor, " n"]:
    checksum, here = _row_checksums(flat), torch.arange(len(flat), device=flat.device)
    order = torch.argsort(checksum, stable=True)
    new = torch.ones_like(order, dtype=torch.bool)
    new[1:] = checksum[order][1:] != checksum[order][:-1]
    head = order[new][new.cumsum(0) - 1]
    first = torch.empty_like(here).scatter_(0, order, head)
    wrong = (first != here).nonzero().squeeze(1)
    differs = (flat[wrong] != flat[first[wrong]]).any(1)
    first[wrong[differs]] = wrong[differs]  # a checksum's collision: such a row counts as distinct
    return first


def _row_checksums(flat: Tensor) -> Int[Tensor, " n"]:
    draw = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (flat.shape[1],), generator=draw).to(flat.device)
    return torch.cat([(_as_integers(part) * weights).sum(1) for part in flat.split(4096)])


def _as_integers(part: Tensor) -> Tensor:
    if not part.is_floating_point():
        return part.long()
    part = part + 0.0  # −0 becomes 0
    sizes = {8: torch.int64, 4: torch.int32, 2: torch.int16}
    return part.view(sizes[part.element_size()]).long()


def _deduplicated_scores(query: Tensor, gallery: Tensor) -> TiledScores:
    kinds, place = distinct_rows(gallery)
    if len(kinds) == len(gallery):
        return TiledScores(query, gallery)
    return TiledScores(query, gallery[kinds], place)


def _working_dtype(query: Tensor, gallery: Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in (query.dtype, gallery.dtype) else torch.float32


def _unit_rows(features: Tensor, dtype: torch.dtype) -> Tensor:
    return features.to(dtype) / _row_norms(features).to(dtype)[:, None]


def _row_norms(features: Tensor) -> Tensor:
    """[n] summed in float64."""
    return torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)


def _coarse_center(gallery: Tensor) -> Tensor:
    parts = [part.double() for part in gallery.split(SCORE_BLOCK_ROWS)]
    mean = torch.stack([part.sum(0) for part in parts]).sum(0) / len(gallery)
    spread = torch.stack([(part - mean).square().sum() for part in parts]).sum() / gallery.numel()
    step = torch.exp2(spread.sqrt().clamp(min=torch.finfo(torch.float32).tiny).log2().floor())
    return (mean / step).round() * step


def _centered_rows(features: Tensor, centre: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.cat([(part.double() - centre).to(dtype) for part in features.split(SCORE_BLOCK_ROWS)])


def _pad_tile_rows(rows: Tensor, height: int) -> Tensor:
    if len(rows) == height:
        return rows
    return torch.cat([rows, rows.new_zeros(height - len(rows), rows.shape[1])])
