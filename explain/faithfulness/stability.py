"""Whether maps are stable when the images shift by a few pixels."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.attribution.encoded_images import Centres
from ssl_sbir.explain.attribution.heat_maps import SideMaps
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE
from ssl_sbir.explain.faithfulness.map_agreement import (
    compute_maps_and_pooled,
    compute_side_maps,
    map_agreements,
)

SHIFT_FRACTION = 0.04  # of the image's side


def shift_stability(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    method: str,
    *,
    centres: Centres | None = None,
    shift: float = SHIFT_FRACTION,
) -> tuple[float | None, float | None]:
    """Mean Spearman correlation of maps with those of shifted images, moved back; over four directions.

    Args:
        shift: distance as a fraction of the image's width.

    Returns:
        The correlation of the drawing's maps and that of the photos', −1..1; None for a side without maps.
    """
    images = sketch[None], photos
    before, pooled = compute_maps_and_pooled(encoder, images, method, centres)
    step = max(round(shift * sketch.shape[-1]), 1)
    agreements: list[tuple[float | None, float | None]] = []
    for move in ((step, 0), (-step, 0), (0, step), (0, -step)):
        moved = (
            shift_images(images[0], move, COVER_VALUE[Domain.SKETCH]),
            shift_images(photos, move, COVER_VALUE[Domain.PHOTO]),
        )
        after = compute_side_maps(encoder, moved, method, centres, pooled)
        back = SideMaps(
            *(_shift_maps_back(side, move, sketch.shape[-1]) for side in (after.sketch, after.photo))
        )
        agreements.append(map_agreements(before, back))
    ours, theirs = zip(*agreements, strict=True)
    return _mean_known(ours), _mean_known(theirs)


def shift_images(images: Float[Tensor, "b c h w"], move: tuple[int, int], fill: float) -> Tensor:
    """Images moved down and right by `move` pixels; the uncovered rim is `fill`."""
    down, right = move
    height, width = images.shape[2:]
    reach = max(abs(down), abs(right))
    padded = F.pad(images, (reach,) * 4, value=fill)
    return padded[:, :, reach - down : reach - down + height, reach - right : reach - right + width]


def _shift_maps_back(maps: Tensor | None, move: tuple[int, int], size: int) -> Tensor | None:
    """Maps of moved images, moved back; the rim that was out of view repeats its neighbour."""
    if maps is None:
        return None
    whole = F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)
    reach = max(abs(step) for step in move)
    padded = F.pad(whole, (reach,) * 4, mode="replicate")
    down, right = (reach + step for step in move)
    inside = padded[:, 0, down : down + size, right : right + size]
    return F.adaptive_avg_pool2d(inside[:, None], (maps.shape[1], maps.shape[2]))[:, 0]


def _mean_known(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
