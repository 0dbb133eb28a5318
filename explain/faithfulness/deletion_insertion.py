"""Deletion and insertion: how a similarity falls while an image is covered, and rises while it is uncovered.

Deletion covers the places of an image from a map's strongest to its weakest and watches the similarity fall;
insertion uncovers them in the same order and watches it rise (Petsiuk et al., BMVC 2018).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.explain.attribution.encoded_images import EncodedImages
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE, OCCLUSION_BATCH

CURVE_CELLS = 12
CURVE_STEPS = 6


@dataclass(frozen=True)
class FaithfulnessCurves:
    """Similarities while an image is covered or uncovered, step by step.

    Attributes:
        deletion: [n, steps + 1, k], from the whole image to the covered one; n orders, k other images.
        insertion: the same from the covered image to the whole one.
    """

    deletion: Float[Tensor, "n t k"]
    insertion: Float[Tensor, "n t k"]

    @property
    def areas(self) -> Float[Tensor, "n k"]:
        """Mean height of the insertion curve less that of the deletion curve: higher is more faithful."""
        return _mean_height(self.insertion) - _mean_height(self.deletion)

    def matched_pairs(self) -> "FaithfulnessCurves":
        """The n-th order with the n-th other image only, k = 1."""
        place = torch.arange(len(self.deletion), device=self.deletion.device)
        return FaithfulnessCurves(self.deletion[place, :, place, None], self.insertion[place, :, place, None])


def deletion_insertion_curves(
    side: EncodedImages,
    rows: Int[Tensor, " n"],
    maps: Float[Tensor, "n h w"],
    others: Float[Tensor, "k d"],
    *,
    steps: int = CURVE_STEPS,
    cells: int = CURVE_CELLS,
) -> FaithfulnessCurves:
    """Deletion and insertion curves of n maps, all images in batches.

    Args:
        side: the images and how they are embedded.
        rows: which image each map belongs to.
        maps: signed or not, of any size; only the order of their places counts.
        others: embeddings of the other side.
        steps: how many times something is covered.
        cells: places along each side of an image; maps are brought to this size.
    """
    hidden = _covered_cells(_cell_ranks(maps, cells), steps)
    masks = F.interpolate(hidden.flatten(0, 1)[:, None].float(), side.image.shape[2:]) > 0.5
    which = rows.repeat_interleave(steps - 1)
    whole, blank = _end_similarities(side, rows, others)
    between = (
        _masked_similarities(side, which, it, others).unflatten(0, (len(maps), -1)) for it in (masks, ~masks)
    )
    deleted, inserted = between
    return FaithfulnessCurves(torch.cat([whole, deleted, blank], 1), torch.cat([blank, inserted, whole], 1))


def random_maps(count: int, shape: tuple[int, int], seed: int = 0) -> Float[Tensor, "count h w"]:
    """Maps of chance: uniform noise of the given coarseness."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def edge_maps(
    image: Float[Tensor, "b 3 h w"], shape: tuple[int, int] = (CURVE_CELLS, CURVE_CELLS)
) -> Float[Tensor, "b c e"]:
    """How much each place changes from pixel to pixel, with no knowledge of the encoder."""
    grey = image.mean(1, keepdim=True)
    down = F.pad((grey[:, :, 1:] - grey[:, :, :-1]).abs(), (0, 0, 0, 1))
    right = F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1))
    return F.adaptive_avg_pool2d(down + right, shape)[:, 0]


def _end_similarities(side: EncodedImages, rows: Int[Tensor, " n"], others: Tensor) -> tuple[Tensor, Tensor]:
    """Similarities [n, 1, k] of the whole images, which are embedded already, and of the covered one."""
    covered = side.embed(torch.full_like(side.image[:1], COVER_VALUE[side.domain]))
    whole, blank = (
        torch.cosine_similarity(seen[:, None], others[None], dim=-1) for seen in (side.embedding, covered)
    )
    return whole[rows][:, None], blank.expand(len(rows), -1)[:, None]


def _masked_similarities(
    side: EncodedImages, which: Int[Tensor, " m"], masks: Bool[Tensor, "m 1 h w"], others: Tensor
) -> Float[Tensor, "m k"]:
    paint = side.image.new_tensor(COVER_VALUE[side.domain])
    found = [
        torch.cosine_similarity(
            side.embed(torch.where(mask, paint, side.image[row]))[:, None], others[None], dim=-1
        )
        for row, mask in zip(which.split(OCCLUSION_BATCH), masks.split(OCCLUSION_BATCH), strict=True)
    ]
    return torch.cat(found)


def _cell_ranks(maps: Float[Tensor, "n h w"], cells: int) -> Int[Tensor, "n c"]:
    """The place of each cell in its map's order, 0 for the strongest; chance decides between equals."""
    values = resize_maps(maps, cells).flatten(1)
    chance = torch.rand(values.shape[1], generator=torch.Generator().manual_seed(0)).argsort()
    order = chance.to(maps.device)[values[:, chance].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1)


def resize_maps(maps: Float[Tensor, "n h w"], cells: int) -> Float[Tensor, "n {cells} {cells}"]:
    """Maps of another size: averaged where they get smaller, interpolated where they get larger."""
    if maps.shape[1] >= cells and maps.shape[2] >= cells:
        return F.adaptive_avg_pool2d(maps[:, None], cells)[:, 0]
    return F.interpolate(maps[:, None], (cells, cells), mode="bilinear", align_corners=False)[:, 0]


def _covered_cells(ranks: Int[Tensor, "n c"], steps: int) -> Bool[Tensor, "n t side side"]:
    """Which cells are covered after each step but the first and last, where none and all are."""
    count = (torch.arange(1, steps, device=ranks.device) * ranks.shape[1] / steps).round()
    side = round(ranks.shape[1] ** 0.5)
    return (ranks[:, None] < count[None, :, None]).unflatten(2, (side, side))


def _mean_height(heights: Float[Tensor, "n t k"]) -> Float[Tensor, "n k"]:
    return torch.trapezoid(heights, dim=1) / (heights.shape[1] - 1)
