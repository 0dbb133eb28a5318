"""Why not that one: what made one photo beat another, and where each would stand without its strongest place."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain.grids import Cell, Grid, grid
from ssl_sbir.explain.maps import MAPS
from ssl_sbir.explain.occlusion import COVER
from ssl_sbir.explain.towers import Tower


@dataclass(frozen=True)
class Standing:
    """One photo of a contrast: its place in the whole order, and the place it would have.

    Attributes:
        id: of the photo.
        label: its class, if known; for the reader only.
        score: its similarity.
        rank: among all photos searched, 1 for the best.
        strongest: the region of the photo that adds most, [row, column] of `shape`.
        shape: rows and columns of its regions.
        score_without: its similarity with that region covered.
        rank_without: its place with that region covered, all other photos as they are.
    """

    id: str
    label: str | None
    score: float
    rank: int
    strongest: Cell
    shape: Cell
    score_without: float
    rank_without: int


@dataclass(frozen=True)
class Contrast:
    """What made `winner` beat `other` for one drawing.

    Attributes:
        gap: difference of the scores.
        method: whose maps are compared; where it is `regions`, the grid sums to the gap exactly.
        drawing: [h, w], what each region of the drawing gives the winner more than the other.
        decisive: the region of the drawing that favours the winner most.
        against: the region that favours the other most; None where none does.
        why: in a sentence.
    """

    winner: Standing
    other: Standing
    gap: float
    method: str
    drawing: Grid
    decisive: Cell
    against: Cell | None
    why: str = ""


def contrast_grids(method: str, sketch: Tower, photos: Tower) -> Float[Tensor, "k h w"]:
    """What each region of the drawing gives the first photo more than each of the others, [k - 1, h, w].

    With `regions` each grid sums to the difference of the scores.
    """
    maps = MAPS[method](sketch, photos).sketch
    if maps is None:
        raise ValueError(f"{method} has no map of the drawing")
    return maps[:1] - maps[1:]


def without_strongest(
    method: str, sketch: Tower, photos: Tower
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"], tuple[int, int]]:
    """Each photo's strongest region, its similarity with that region covered, and the regions' rows and columns."""
    maps = MAPS[method](sketch, photos).photo
    if maps is None:
        raise ValueError(f"{method} has no map of the photos")
    shape = (maps.shape[1], maps.shape[2])
    strongest = maps.flatten(1).argmax(1)
    masks = F.one_hot(strongest, shape[0] * shape[1]).unflatten(1, shape).bool()
    covered = photos.embed(_covered(photos.image, masks))
    return strongest, torch.cosine_similarity(covered, sketch.embedding), shape


def contrasts(
    method: str,
    sketch: Tower,
    photos: Tower,
    scores: Float[Tensor, " n"],
    names: list[tuple[str, str | None]],
) -> list[Contrast]:
    """The first photo against each of the others.

    Args:
        method: `regions` where the encoder allows, else `occlusion`.
        sketch: the drawing.
        photos: the winner and those it beat.
        scores: similarities of all photos that were searched.
        names: id and class of each of `photos`.
    """
    grids = contrast_grids(method, sketch, photos)
    places, reduced, shape = without_strongest(method, sketch, photos)
    whole = torch.cosine_similarity(sketch.embedding, photos.embedding)
    standings = [
        Standing(
            *name,
            score,
            _rank(scores, score, score),
            divmod(place, shape[1]),
            shape,
            less,
            _rank(scores, less, score),
        )
        for name, score, place, less in zip(
            names, whole.tolist(), places.tolist(), reduced.tolist(), strict=True
        )
    ]
    return [
        Contrast(
            standings[0],
            other,
            standings[0].score - other.score,
            method,
            grid(difference.double().cpu()),
            divmod(int(difference.argmax()), difference.shape[1]),
            divmod(int(difference.argmin()), difference.shape[1]) if difference.min() < 0 else None,
        )
        for other, difference in zip(standings[1:], grids, strict=True)
    ]


def _covered(images: Float[Tensor, "k 3 h w"], masks: Bool[Tensor, "k r c"]) -> Float[Tensor, "k 3 h w"]:
    wide = F.interpolate(masks[:, None].float(), images.shape[2:]) > 0.5
    return torch.where(wide, images.new_tensor(COVER[Domain.PHOTO]), images)


def _rank(scores: Tensor, score: float, itself: float) -> int:
    """The place of a score among all, the photo's own score left out."""
    better = (scores > score + 1e-6).sum().item()
    return int(better) + 1 - int(itself > score + 1e-6)
