"""How alike a method's maps are before and after something was changed: mean rank correlations."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.curves import CELLS, resized
from ssl_sbir.explain.maps import MAPS, SideMaps
from ssl_sbir.explain.towers import Centres, tower


def first_maps(
    encoder: Encoder, images: tuple[Tensor, Tensor], method: str, centres: Centres | None
) -> tuple[SideMaps, bool]:
    """The maps, and whether one pass through the encoder gives both its map and its embedding."""
    ours, theirs = (
        tower(encoder, image, domain, centres) for image, domain in zip(images, Domain, strict=True)
    )
    return MAPS[method](ours, theirs), not (ours.lacks or theirs.lacks)


def maps_of(
    encoder: Encoder, images: tuple[Tensor, Tensor], method: str, centres: Centres | None, pooled: bool
) -> SideMaps:
    """The maps, where it is known whether one pass gives both."""
    ours, theirs = (
        tower(encoder, image, domain, centres, pooled=pooled)
        for image, domain in zip(images, Domain, strict=True)
    )
    return MAPS[method](ours, theirs)


def agreements(one: SideMaps, other: SideMaps) -> tuple[float | None, float | None]:
    """Mean rank correlations of the drawing's and of the photos' maps; None for a side without maps."""
    pairs = (one.sketch, other.sketch), (one.photo, other.photo)
    return tuple(  # type: ignore[return-value]
        None if ours is None or theirs is None else _agreement(ours, theirs) for ours, theirs in pairs
    )


def _agreement(ours: Tensor, theirs: Tensor) -> float:
    cells = min(CELLS, *ours.shape[1:])
    both = (resized(side, cells).flatten(1) for side in (ours, theirs))
    return spearman(*both).mean().item()


def spearman(one: Float[Tensor, "k n"], other: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    """Rank correlations, equal values sharing their mean rank; 0 where a row is constant."""
    ranks = [
        torch.from_numpy(np.asarray(stats.rankdata(side.double().cpu().numpy(), axis=1)))
        for side in (one, other)
    ]
    ours, theirs = (side - side.mean(1, keepdim=True) for side in ranks)
    return torch.cosine_similarity(ours, theirs).float()
