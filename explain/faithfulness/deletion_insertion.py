"""Deletion and insertion: the similarity while an image is covered and uncovered in the order of a map.

Deletion covers the cells of an image from the map's strongest to its weakest, and the similarity should fall;
insertion uncovers them in the same order, and it should rise (Petsiuk et al., BMVC 2018).
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
        deletion: [n, steps + 1, k], from the whole image to the covered one; n maps, k images of the other side.
        insertion: the same from the covered image to the whole one.
    """

    deletion: Float[Tensor, "n t k"]
    insertion: Float[Tensor, "n t k"]

    @property
    def areas(self) -> Float[Tensor, "n k"]:
        """Mean height of the insertion curve minus that of the deletion curve; higher is more faithful."""
        return _mean_height(self.insertion) - _mean_height(self.deletion)

    def matched_pairs(self) -> "FaithfulnessCurves":
        """The curves of the n-th map with the n-th image of the other side, k = 1."""
        index = torch.arange(len(self.deletion), device=self.deletion.device)
        return FaithfulnessCurves(self.deletion[index, :, index, None], self.insertion[index, :, index, None])


def deletion_insertion_curves(
    side: EncodedImages,
    rows: Int[Tensor, " n"],
    maps: Float[Tensor, "n h w"],
    others: Float[Tensor, "k d"],
    *,
    steps: int = CURVE_STEPS,
    cells: int = CURVE_CELLS,
) -> FaithfulnessCurves:
    """Deletion and insertion curves of n maps.

    Args:
        side: the images, with their encoder.
        rows: index of the image that each map belongs to.
        maps: signed or not, of any size; only the order of their values counts.
        others: embeddings of the other side.
        steps: number of steps from the whole to the covered image.
        cells: cells along each side of an image; maps are resized to this.
    """
    hidden = _covered_cells(_cell_ranks(maps, cells), steps)
    masks = F.interpolate(hidden.flatten(0, 1)[:, None].float(), side.image.shape[2:]) > 0.5
    image_rows = rows.repeat_interleave(steps - 1)
    whole, blank = _end_similarities(side, rows, others)
    deleted, inserted = (
        _masked_similarities(side, image_rows, covered, others).unflatten(0, (len(maps), -1))
        for covered in (masks, ~masks)
    )
    return FaithfulnessCurves(torch.cat([whole, deleted, blank], 1), torch.cat([blank, inserted, whole], 1))


def random_maps(count: int, shape: tuple[int, int], seed: int = 0) -> Float[Tensor, "count h w"]:
    """Maps of uniform noise with the given rows and columns."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def edge_maps(
    image: Float[Tensor, "b 3 h w"], shape: tuple[int, int] = (CURVE_CELLS, CURVE_CELLS)
) -> Float[Tensor, "b c e"]:
    """Mean absolute difference between neighbouring pixels in each cell; doesn't depend on the encoder."""
    grey = image.mean(1, keepdim=True)
    down = F.pad((grey[:, :, 1:] - grey[:, :, :-1]).abs(), (0, 0, 0, 1))
    right = F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1))
    return F.adaptive_avg_pool2d(down + right, shape)[:, 0]


def _end_similarities(side: EncodedImages, rows: Int[Tensor, " n"], others: Tensor) -> tuple[Tensor, Tensor]:
    """Similarities [n, 1, k] of the whole images and of the fully covered one."""
    covered = side.embed(torch.full_like(side.image[:1], COVER_VALUE[side.domain]))
    whole, blank = (
        torch.cosine_similarity(embedding[:, None], others[None], dim=-1)
        for embedding in (side.embedding, covered)
    )
    return whole[rows][:, None], blank.expand(len(rows), -1)[:, None]


def _masked_similarities(
    side: EncodedImages, rows: Int[Tensor, " m"], masks: Bool[Tensor, "m 1 h w"], others: Tensor
) -> Float[Tensor, "m k"]:
    paint = side.image.new_tensor(COVER_VALUE[side.domain])
    similarities = [
        torch.cosine_similarity(
            side.embed(torch.where(mask, paint, side.image[row]))[:, None], others[None], dim=-1
        )
        for row, mask in zip(rows.split(OCCLUSION_BATCH), masks.split(OCCLUSION_BATCH), strict=True)
    ]
    return torch.cat(similarities)


def _cell_ranks(maps: Float[Tensor, "n h w"], cells: int) -> Int[Tensor, "n c"]:
    """The rank of each cell in its map, 0 for the strongest; ties are broken at random."""
    values = resize_maps(maps, cells).flatten(1)
    shuffled = torch.rand(values.shape[1], generator=torch.Generator().manual_seed(0)).argsort()
    order = shuffled.to(maps.device)[values[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1)


def resize_maps(maps: Float[Tensor, "n h w"], cells: int) -> Float[Tensor, "n {cells} {cells}"]:
    """Maps of another size: averaged if they get smaller, interpolated if they get larger."""
    if maps.shape[1] >= cells and maps.shape[2] >= cells:
        return F.adaptive_avg_pool2d(maps[:, None], cells)[:, 0]
    return F.interpolate(maps[:, None], (cells, cells), mode="bilinear", align_corners=False)[:, 0]


def _covered_cells(ranks: Int[Tensor, "n c"], steps: int) -> Bool[Tensor, "n t side side"]:
    """Which cells are covered after each step, without the two ends at which none and all are."""
    count = (torch.arange(1, steps, device=ranks.device) * ranks.shape[1] / steps).round()
    side = round(ranks.shape[1] ** 0.5)
    return (ranks[:, None] < count[None, :, None]).unflatten(2, (side, side))


def _mean_height(heights: Float[Tensor, "n t k"]) -> Float[Tensor, "n k"]:
    return torch.trapezoid(heights, dim=1) / (heights.shape[1] - 1)
