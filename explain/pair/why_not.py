"""Contrasts: why one photo beat another, and the rank of each with its strongest region covered."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain.attribution.encoded_images import EncodedImages
from ssl_sbir.explain.attribution.grids import Grid, GridCell, to_grid
from ssl_sbir.explain.attribution.heat_maps import METHOD_MAPS
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE


@dataclass(frozen=True)
class PhotoStanding:
    """One photo of a contrast: its rank, and its rank with its strongest region covered.

    Attributes:
        id: of the photo.
        label: its class; None if unknown. For the reader only.
        score: its similarity.
        rank: among all photos searched, 1 for the best.
        strongest: the region of the photo that adds most, (row, column).
        shape: rows and columns of its grid of regions.
        score_without: its similarity with that region covered.
        rank_without: its rank with that region covered and all other photos unchanged.
    """

    id: str
    label: str | None
    score: float
    rank: int
    strongest: GridCell
    shape: GridCell
    score_without: float
    rank_without: int


@dataclass(frozen=True)
class PhotoContrast:
    """Why the photo `winner` beat the photo `other` for one drawing.

    Attributes:
        gap: difference of the scores.
        method: whose maps are compared; with `regions` the grid sums to the gap exactly.
        drawing: [h, w], how much more each region of the drawing adds for the winner than for the other photo.
        decisive: the region of the drawing that favours the winner most.
        against: the region that favours the other photo most; None if none does.
        why: the contrast in sentences.
    """

    winner: PhotoStanding
    other: PhotoStanding
    gap: float
    method: str
    drawing: Grid
    decisive: GridCell
    against: GridCell | None
    why: str = ""


def contrast_grids(method: str, sketch: EncodedImages, photos: EncodedImages) -> Float[Tensor, "k h w"]:
    """How much more each region of the drawing adds for the first photo than for each other one, [k - 1, h, w].

    With `regions` each grid sums to the difference of the scores.
    """
    maps = METHOD_MAPS[method](sketch, photos).sketch
    if maps is None:
        raise ValueError(f"{method} has no map of the drawing")
    return maps[:1] - maps[1:]


def score_without_strongest_region(
    method: str, sketch: EncodedImages, photos: EncodedImages
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"], tuple[int, int]]:
    """Index of each photo's strongest region, its similarity with it covered, and the grid's rows and columns."""
    maps = METHOD_MAPS[method](sketch, photos).photo
    if maps is None:
        raise ValueError(f"{method} has no map of the photos")
    shape = (maps.shape[1], maps.shape[2])
    strongest = maps.flatten(1).argmax(1)
    masks = F.one_hot(strongest, shape[0] * shape[1]).unflatten(1, shape).bool()
    covered = photos.embed(_cover_regions(photos.image, masks))
    return strongest, torch.cosine_similarity(covered, sketch.embedding), shape


def contrast_photos(
    method: str,
    sketch: EncodedImages,
    photos: EncodedImages,
    scores: Float[Tensor, " n"],
    names: list[tuple[str, str | None]],
) -> list[PhotoContrast]:
    """The contrasts of the first photo with each of the others.

    Args:
        method: `regions` if the encoder supports it, else `occlusion`.
        sketch: the drawing.
        photos: the winner, then the photos it beat.
        scores: similarities of all photos that were searched.
        names: id and class of each of `photos`.
    """
    grids = contrast_grids(method, sketch, photos)
    strongest, reduced, shape = score_without_strongest_region(method, sketch, photos)
    whole = torch.cosine_similarity(sketch.embedding, photos.embedding)
    standings = [
        PhotoStanding(
            *name,
            score,
            _rank_among(scores, score, score),
            divmod(region, shape[1]),
            shape,
            reduced_score,
            _rank_among(scores, reduced_score, score),
        )
        for name, score, region, reduced_score in zip(
            names, whole.tolist(), strongest.tolist(), reduced.tolist(), strict=True
        )
    ]
    return [
        PhotoContrast(
            standings[0],
            other,
            standings[0].score - other.score,
            method,
            to_grid(difference.double().cpu()),
            divmod(int(difference.argmax()), difference.shape[1]),
            divmod(int(difference.argmin()), difference.shape[1]) if difference.min() < 0 else None,
        )
        for other, difference in zip(standings[1:], grids, strict=True)
    ]


def _cover_regions(
    images: Float[Tensor, "k 3 h w"], masks: Bool[Tensor, "k r c"]
) -> Float[Tensor, "k 3 h w"]:
    wide = F.interpolate(masks[:, None].float(), images.shape[2:]) > 0.5
    return torch.where(wide, images.new_tensor(COVER_VALUE[Domain.PHOTO]), images)


def _rank_among(scores: Tensor, score: float, own_score: float) -> int:
    """The rank of a score among all scores except the photo's own."""
    better = (scores > score + 1e-6).sum().item()
    return int(better) + 1 - int(own_score > score + 1e-6)
