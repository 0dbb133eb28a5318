"""How well a method's maps agree before and after a change: mean rank correlations."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.attribution.encoded_images import Centres, encode_images
from ssl_sbir.explain.attribution.heat_maps import METHOD_MAPS, SideMaps
from ssl_sbir.explain.faithfulness.deletion_insertion import CURVE_CELLS, resize_maps


def compute_maps_and_pooled(
    encoder: Encoder, images: tuple[Tensor, Tensor], method: str, centres: Centres | None
) -> tuple[SideMaps, bool]:
    """The maps, and whether one forward pass gives both feature map and embedding (see `encode_images`)."""
    ours, theirs = (
        encode_images(encoder, image, domain, centres) for image, domain in zip(images, Domain, strict=True)
    )
    return METHOD_MAPS[method](ours, theirs), not (ours.why_no_features or theirs.why_no_features)


def compute_side_maps(
    encoder: Encoder, images: tuple[Tensor, Tensor], method: str, centres: Centres | None, pooled: bool
) -> SideMaps:
    """The maps; `pooled` says whether one forward pass gives both feature map and embedding."""
    ours, theirs = (
        encode_images(encoder, image, domain, centres, pooled=pooled)
        for image, domain in zip(images, Domain, strict=True)
    )
    return METHOD_MAPS[method](ours, theirs)


def map_agreements(one: SideMaps, other: SideMaps) -> tuple[float | None, float | None]:
    """Mean Spearman correlation of the drawing's maps and of the photos', −1..1; None for a side without maps."""
    pairs = (one.sketch, other.sketch), (one.photo, other.photo)
    return tuple(  # type: ignore[return-value]
        None if ours is None or theirs is None else _mean_rank_correlation(ours, theirs)
        for ours, theirs in pairs
    )


def _mean_rank_correlation(ours: Tensor, theirs: Tensor) -> float:
    cells = min(CURVE_CELLS, *ours.shape[1:])
    both = (resize_maps(side, cells).flatten(1) for side in (ours, theirs))
    return spearman_correlation(*both).mean().item()


def spearman_correlation(one: Float[Tensor, "k n"], other: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    """Spearman correlation of each row, −1..1; ties share their mean rank, and a constant row gives 0."""
    from scipy import stats

    ranks = [
        torch.from_numpy(np.asarray(stats.rankdata(side.double().cpu().numpy(), axis=1)))
        for side in (one, other)
    ]
    ours, theirs = (side - side.mean(1, keepdim=True) for side in ranks)
    return torch.cosine_similarity(ours, theirs).float()
