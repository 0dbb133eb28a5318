"""The similarity as an exact sum over pairs of a drawing region and a photo region."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.explain.attribution.grids import Grid, GridCell, to_grid


@dataclass(frozen=True)
class RegionPair:
    """One drawing region and one photo region (row, column) and how much the pair adds to the score."""

    sketch: GridCell
    photo: GridCell
    score: float


@dataclass(frozen=True)
class Regions:
    """The exact decomposition of a score into pairs of regions.

    Attributes:
        sketch: [h, w], how much each region of the drawing adds; sums to the score.
        photo: [h, w], how much each region of the photo adds; sums to the score too.
        strongest: the pairs that add most, strongest first; no region occurs twice.
        delta: sum over all pairs minus the score: the error of the decomposition.
    """

    sketch: Grid
    photo: Grid
    strongest: tuple[RegionPair, ...]
    delta: float


def region_contributions(
    sketch: Float[Tensor, "d a b"], photos: Float[Tensor, "k d c e"]
) -> Float[Tensor, "k ab ce"]:
    """How much each pair of regions adds to the cosine, float64; each [ab, ce] sums to one drawing-photo cosine.

    With embeddings that are means of feature maps, f = Σᵢ fᵢ / n and g = Σⱼ gⱼ / m,
    cos(f, g) = Σᵢⱼ ⟨fᵢ, gⱼ⟩ / (n m |f| |g|). A zero embedding has cosine 0 and contributions 0.

    Args:
        sketch: feature map of the drawing, centred if the score is.
        photos: feature maps of the photos, centred if the score is.
    """
    ours, theirs = sketch.double().flatten(1), photos.double().flatten(2)
    lengths = ours.mean(1).norm() * theirs.mean(2).norm(dim=1)
    products = torch.einsum("dn,kdm->knm", ours, theirs) / (ours.shape[1] * theirs.shape[2])
    return torch.where(lengths > 0, 1 / lengths.clamp(min=1e-30), 0.0)[:, None, None] * products


def strongest_pairs(
    contributions: Float[Tensor, "k n m"], count: int
) -> tuple[Int[Tensor, "k c"], Int[Tensor, "k c"], Float[Tensor, "k c"]]:
    """Drawing region, photo region and contribution of the strongest pairs, strongest first; no region twice.

    There are min(count, n, m) pairs; the weakest may have contributions of zero or less.
    """
    remaining, (_, n, m) = contributions.clone(), contributions.shape
    pairs = []
    for _ in range(min(count, n, m)):
        value, index = remaining.flatten(1).max(1)
        row, column = index // m, index % m
        pairs.append((row, column, value))
        remaining.scatter_(1, row[:, None, None].expand(-1, 1, m), float("-inf"))
        remaining.scatter_(2, column[:, None, None].expand(-1, n, 1), float("-inf"))
    rows, columns, values = zip(*pairs, strict=True)
    return torch.stack(rows, 1), torch.stack(columns, 1), torch.stack(values, 1)


def decompose_regions(
    sketch: Float[Tensor, "d a b"],
    photos: Float[Tensor, "k d c e"],
    score: Float[Tensor, " k"],
    pairs: int,
) -> list[Regions]:
    """The decomposition of each score, with at most `pairs` of the strongest region pairs that raise it."""
    shares = region_contributions(sketch, photos)
    sketch_sums = shares.sum(2).unflatten(1, sketch.shape[1:]).cpu()
    photo_sums = shares.sum(1).unflatten(1, photos.shape[2:]).cpu()
    deltas = (shares.sum((1, 2)) - score.double()).tolist()
    rows, columns, values = (part.tolist() for part in strongest_pairs(shares, pairs))
    widths = sketch.shape[2], photos.shape[3]
    return [
        Regions(to_grid(ours), to_grid(theirs), _to_region_pairs(row, column, value, widths), delta)
        for ours, theirs, delta, row, column, value in zip(
            sketch_sums, photo_sums, deltas, rows, columns, values, strict=True
        )
    ]


def _to_region_pairs(
    rows: list[int], columns: list[int], values: list[float], widths: tuple[int, int]
) -> tuple[RegionPair, ...]:
    return tuple(
        RegionPair(divmod(row, widths[0]), divmod(column, widths[1]), value)
        for row, column, value in zip(rows, columns, values, strict=True)
        if value > 0
    )
