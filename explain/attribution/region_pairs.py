"""The similarity as an exact sum over (drawing region, photo region) pairs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.explain.attribution.grids import Grid, GridCell, to_grid


@dataclass(frozen=True)
class RegionPair:
    """One drawing region and one photo region (row, column) and what the two add to the score together."""

    sketch: GridCell
    photo: GridCell
    score: float


@dataclass(frozen=True)
class Regions:
    """The score taken apart into pairs of regions, exactly.

    Attributes:
        sketch: [h, w], what each region of the drawing adds; these sum to the score.
        photo: [h, w], what each region of the photo adds; these sum to the score too.
        strongest: the pairs that add most, no region twice, strongest first.
        delta: sum of all pairs minus the score: the error of the decomposition.
    """

    sketch: Grid
    photo: Grid
    strongest: tuple[RegionPair, ...]
    delta: float


def region_contributions(
    sketch: Float[Tensor, "d a b"], photos: Float[Tensor, "k d c e"]
) -> Float[Tensor, "k ab ce"]:
    """What each pair of regions adds to the cosine, float64; each [ab, ce] sums to the pair's cosine.

    With embeddings that are means of feature maps, f = Σᵢ fᵢ / n and g = Σⱼ gⱼ / m,
    cos(f, g) = Σᵢⱼ ⟨fᵢ, gⱼ⟩ / (n m |f| |g|). A zero embedding has cosine 0 and contributions 0.

    Args:
        sketch: feature map of the drawing, centred if the score is.
        photos: feature maps of the photos, likewise.
    """
    ours, theirs = sketch.double().flatten(1), photos.double().flatten(2)
    lengths = ours.mean(1).norm() * theirs.mean(2).norm(dim=1)
    products = torch.einsum("dn,kdm->knm", ours, theirs) / (ours.shape[1] * theirs.shape[2])
    return torch.where(lengths > 0, 1 / lengths.clamp(min=1e-30), 0.0)[:, None, None] * products


def strongest_pairs(
    contributions: Float[Tensor, "k n m"], count: int
) -> tuple[Int[Tensor, "k c"], Int[Tensor, "k c"], Float[Tensor, "k c"]]:
    """Drawing region, photo region and contribution of the strongest pairs, strongest first, no region twice.

    There are min(count, n, m) of them; contributions may be zero or negative where nothing better is left.
    """
    left, (_, n, m) = contributions.clone(), contributions.shape
    found = []
    for _ in range(min(count, n, m)):
        value, place = left.flatten(1).max(1)
        row, column = place // m, place % m
        found.append((row, column, value))
        left.scatter_(1, row[:, None, None].expand(-1, 1, m), float("-inf"))
        left.scatter_(2, column[:, None, None].expand(-1, n, 1), float("-inf"))
    rows, columns, values = zip(*found, strict=True)
    return torch.stack(rows, 1), torch.stack(columns, 1), torch.stack(values, 1)


def decompose_regions(
    sketch: Float[Tensor, "d a b"],
    photos: Float[Tensor, "k d c e"],
    score: Float[Tensor, " k"],
    pairs: int,
) -> list[Regions]:
    """The decomposition of each pair's score, with its `pairs` strongest region pairs that add to it."""
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
