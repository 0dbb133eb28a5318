"""Similarity of every query to every gallery item, one tile of queries at a time.

Scores have the same bits however many queries are ranked at once: a tile's height depends only on the gallery, and a
query's row in its tile only on its own row. Equal gallery vectors are scored once, so that they tie exactly whatever
the matrix library does at its edges.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

TILE_BYTES = 64 << 20
SCORE_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class TiledScores:
    """The similarity of queries to gallery items, computed on demand; higher is nearer.

    Attributes:
        query: [q, d] left side of the product.
        gallery: [u, d] the distinct gallery vectors.
        distinct_index: [n] the row of `gallery` that belongs to each gallery item; None where all are distinct.
    """

    query: Float[Tensor, "q d"]
    gallery: Float[Tensor, "u d"]
    distinct_index: Int[Tensor, " n"] | None = None

    @property
    def num_items(self) -> int:
        """The number of gallery items."""
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
        """Scores [t, n] of the queries from `index * tile_height` on, t ≤ tile_height.

        Args:
            index: of the tile.
            out: [tile_height, u] memory to compute in; its content is overwritten.
        """
        rows = self.query[index * self.tile_height : (index + 1) * self.tile_height]
        scores = torch.mm(_pad_tile_rows(rows, self.tile_height), self.gallery.T, out=out)[: len(rows)]
        return scores if self.distinct_index is None else scores.index_select(1, self.distinct_index)

    def new_tile_buffer(self) -> Float[Tensor, "t u"]:
        """Memory for one tile, which `compute_tile` can reuse."""
        return self.gallery.new_empty(self.tile_height, len(self.gallery))


def cosine_scores(query: Float[Tensor, "q d"], gallery: Float[Tensor, "n d"]) -> TiledScores:
    """Scores that are cosines (−1..1), in float64 where a side is float64 and in float32 otherwise."""
    dtype = _working_dtype(query, gallery)
    return _deduplicated_scores(_unit_rows(query, dtype), _unit_rows(gallery, dtype))


def euclidean_scores(query: Float[Tensor, "q d"], gallery: Float[Tensor, "n d"]) -> TiledScores:
    """Scores that fall with the Euclidean distance: q·g − |g|²/2.

    Any decreasing function of the distance (exp(−d), 1/(1+d)) gives the same order. Both sides are first shifted by the
    gallery's mean, rounded to a power of two near its spread. That avoids the loss of digits to a large common offset,
    and keeps distances between vectors on a lattice (codes, counts) exact, ties included.
    """
    dtype = _working_dtype(query, gallery)
    center = _coarse_center(gallery)
    q, g = _centered_rows(query, center, dtype), _centered_rows(gallery, center, dtype)
    half = (g.double().square().sum(1, keepdim=True) / -2).to(dtype)
    return _deduplicated_scores(torch.cat([q, q.new_ones(len(q), 1)], 1), torch.cat([g, half], 1))


def are_unit_vectors(features: Float[Tensor, "n d"]) -> bool:
    """Whether all rows have length 1 up to rounding; cosine and Euclidean order are then the same."""
    slack = 8 * torch.finfo(features.dtype).eps
    return bool((_row_norms(features) - 1).abs().max() <= slack)


def distinct_rows(rows: Tensor) -> tuple[Int[Tensor, " u"], Int[Tensor, " n"]]:
    """The first rows of each group of equal rows, and for each row the index of its group.

    Args:
        rows: [n, …] of any dtype; rows are equal when all their bytes are (−0 counts as 0).
    """
    flat = rows.reshape(len(rows), -1).contiguous()
    first_rows, distinct_index = torch.unique(_first_copies(flat), return_inverse=True)
    return first_rows, distinct_index


def _first_copies(flat: Tensor) -> Int[Tensor, " n"]:
    checksum, here = _row_checksums(flat), torch.arange(len(flat), device=flat.device)
    order = torch.argsort(checksum, stable=True)
    new = torch.ones_like(order, dtype=torch.bool)
    new[1:] = checksum[order][1:] != checksum[order][:-1]
    head = order[new][new.cumsum(0) - 1]
    first = torch.empty_like(here).scatter_(0, order, head)
    wrong = (first != here).nonzero().squeeze(1)
    differs = (flat[wrong] != flat[first[wrong]]).any(1)
    first[wrong[differs]] = wrong[differs]  # a collision of checksums: such a row counts as distinct
    return first


def _row_checksums(flat: Tensor) -> Int[Tensor, " n"]:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (flat.shape[1],), generator=generator).to(flat.device)
    return torch.cat([(_as_integers(part) * weights).sum(1) for part in flat.split(4096)])


def _as_integers(part: Tensor) -> Tensor:
    if not part.is_floating_point():
        return part.long()
    part = part + 0.0  # −0 becomes 0
    sizes = {8: torch.int64, 4: torch.int32, 2: torch.int16}
    return part.view(sizes[part.element_size()]).long()


def _deduplicated_scores(query: Tensor, gallery: Tensor) -> TiledScores:
    first_rows, distinct_index = distinct_rows(gallery)
    if len(first_rows) == len(gallery):
        return TiledScores(query, gallery)
    return TiledScores(query, gallery[first_rows], distinct_index)


def _working_dtype(query: Tensor, gallery: Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in (query.dtype, gallery.dtype) else torch.float32


def _unit_rows(features: Tensor, dtype: torch.dtype) -> Tensor:
    # Unlike `gallery.base.unit_vectors` it divides in the working dtype, which published figures depend on to the bit,
    # and turns a zero row into NaN rather than into an item that scores 0.
    return features.to(dtype) / _row_norms(features).to(dtype)[:, None]


def _row_norms(features: Tensor) -> Tensor:
    """Lengths [n], summed in float64."""
    return torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)


def _coarse_center(gallery: Tensor) -> Tensor:
    parts = [part.double() for part in gallery.split(SCORE_BLOCK_ROWS)]
    mean = torch.stack([part.sum(0) for part in parts]).sum(0) / len(gallery)
    spread = torch.stack([(part - mean).square().sum() for part in parts]).sum() / gallery.numel()
    step = torch.exp2(spread.sqrt().clamp(min=torch.finfo(torch.float32).tiny).log2().floor())
    return (mean / step).round() * step


def _centered_rows(features: Tensor, center: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.cat([(part.double() - center).to(dtype) for part in features.split(SCORE_BLOCK_ROWS)])


def _pad_tile_rows(rows: Tensor, height: int) -> Tensor:
    if len(rows) == height:
        return rows
    return torch.cat([rows, rows.new_zeros(height - len(rows), rows.shape[1])])
