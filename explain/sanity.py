"""Two checks of a method: its maps must change with the encoder's weights, and must not with a small shift.

A map that looks the same after the weights were drawn by lot explains the picture and not the encoder
(Adebayo et al., NeurIPS 2018); one that jumps when the picture moves by a few pixels can't be trusted.
"""

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import stats
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.faithfulness import CELLS, resized
from ssl_sbir.explain.maps import MAPS, SideMaps
from ssl_sbir.explain.occlusion import COVER
from ssl_sbir.explain.towers import Centres, tower

STAGES = 5
SHIFT = 0.04  # of the image's side


@dataclass(frozen=True)
class Randomised:
    """How alike maps still are after part of the weights was drawn by lot, from the output down.

    Attributes:
        share: of the layers, 0..1.
        layer: the lowest one that was changed.
        drawing: mean Spearman correlation with the maps of the whole encoder, −1..1; None without maps.
        photo: the same for the photos.
    """

    share: float
    layer: str
    drawing: float | None
    photo: float | None


def randomised(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    method: str,
    *,
    centres: Centres | None = None,
    stages: int = STAGES,
    seed: int = 0,
) -> list[Randomised]:
    """The rank correlation of a method's maps with those of an encoder that is randomised layer by layer.

    Weights are shuffled within each tensor, so their sizes stay; batch norms are fitted to the images anew.

    Args:
        method: of `MAPS`.
        stages: how many times some more layers are changed.
        seed: of the lots.
    """
    images = sketch[None], photos
    before, pooled = _first_maps(encoder, images, method, centres)
    lot = torch.Generator().manual_seed(seed)
    changed = deepcopy(encoder).eval()
    layers = _layers(changed)
    # An encoder without weights, of features by hand, has none to draw.
    ends = [round(len(layers) * stage / stages) for stage in range(stages + 1)] if layers else []
    found = []
    for start, end in pairwise(ends):
        for _, layer in layers[start:end]:
            _shuffle(layer, lot)
        _refit(changed, images)
        after = _maps(changed, images, method, centres, pooled)
        found.append(Randomised(end / len(layers), layers[end - 1][0], *_agreements(before, after)))
    return found


def stability(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    method: str,
    *,
    centres: Centres | None = None,
    shift: float = SHIFT,
) -> tuple[float | None, float | None]:
    """Mean Spearman correlation of maps with those of pictures moved a little in four directions.

    Returns:
        That of the drawing's and of the photos' maps, −1..1; None for a side without maps.
    """
    images = sketch[None], photos
    before, pooled = _first_maps(encoder, images, method, centres)
    step = max(round(shift * sketch.shape[-1]), 1)
    found: list[tuple[float | None, float | None]] = []
    for move in ((step, 0), (-step, 0), (0, step), (0, -step)):
        moved = moved_by(images[0], move, COVER[Domain.SKETCH]), moved_by(photos, move, COVER[Domain.PHOTO])
        after = _maps(encoder, moved, method, centres, pooled)
        back = SideMaps(*(_back(side, move, sketch.shape[-1]) for side in (after.sketch, after.photo)))
        found.append(_agreements(before, back))
    ours, theirs = zip(*found, strict=True)
    return _mean(ours), _mean(theirs)


def spearman(one: Float[Tensor, "k n"], other: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    """Rank correlations, equal values sharing their mean rank; 0 where a row is constant."""
    ranks = [
        torch.from_numpy(np.asarray(stats.rankdata(side.double().cpu().numpy(), axis=1)))
        for side in (one, other)
    ]
    ours, theirs = (side - side.mean(1, keepdim=True) for side in ranks)
    return torch.cosine_similarity(ours, theirs).float()


def moved_by(images: Float[Tensor, "b c h w"], move: tuple[int, int], fill: float) -> Tensor:
    """Images moved down and right by so many pixels; what comes into view is `fill`."""
    down, right = move
    height, width = images.shape[2:]
    reach = max(abs(down), abs(right))
    padded = F.pad(images, (reach,) * 4, value=fill)
    return padded[:, :, reach - down : reach - down + height, reach - right : reach - right + width]


def _first_maps(
    encoder: Encoder, images: tuple[Tensor, Tensor], method: str, centres: Centres | None
) -> tuple[SideMaps, bool]:
    """The maps, and whether one pass through the encoder gives both its map and its embedding."""
    ours, theirs = (
        tower(encoder, image, domain, centres) for image, domain in zip(images, Domain, strict=True)
    )
    return MAPS[method](ours, theirs), not (ours.lacks or theirs.lacks)


def _maps(
    encoder: Encoder, images: tuple[Tensor, Tensor], method: str, centres: Centres | None, pooled: bool
) -> SideMaps:
    ours, theirs = (
        tower(encoder, image, domain, centres, pooled=pooled)
        for image, domain in zip(images, Domain, strict=True)
    )
    return MAPS[method](ours, theirs)


def _agreements(one: SideMaps, other: SideMaps) -> tuple[float | None, float | None]:
    pairs = (one.sketch, other.sketch), (one.photo, other.photo)
    return tuple(  # type: ignore[return-value]
        None if ours is None or theirs is None else _agreement(ours, theirs) for ours, theirs in pairs
    )


def _agreement(ours: Tensor, theirs: Tensor) -> float:
    cells = min(CELLS, *ours.shape[1:])
    both = (resized(side, cells).flatten(1) for side in (ours, theirs))
    return spearman(*both).mean().item()


def _back(maps: Tensor | None, move: tuple[int, int], size: int) -> Tensor | None:
    """Maps of moved pictures, moved back; the rim that was out of view repeats its neighbour."""
    if maps is None:
        return None
    whole = F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)
    reach = max(abs(step) for step in move)
    padded = F.pad(whole, (reach,) * 4, mode="replicate")
    down, right = (reach + step for step in move)
    inside = padded[:, 0, down : down + size, right : right + size]
    return F.adaptive_avg_pool2d(inside[:, None], (maps.shape[1], maps.shape[2]))[:, 0]


def _mean(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _layers(encoder: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that hold weights themselves, from the output down."""
    holding = [
        (name or "encoder", part)
        for name, part in encoder.named_modules()
        if any(True for _ in part.parameters(recurse=False))
    ]
    return holding[::-1]


@torch.no_grad()
def _shuffle(layer: nn.Module, lot: torch.Generator) -> None:
    for weight in layer.parameters(recurse=False):
        flat = weight.detach().flatten()
        order = torch.randperm(len(flat), generator=lot).to(flat.device)
        weight.copy_(flat[order].view_as(weight))


@torch.no_grad()
def _refit(encoder: Encoder, images: tuple[Tensor, Tensor]) -> None:
    """Lets batch norms measure the images at hand: those of the trained weights fit these no more."""
    norms = [part for part in encoder.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    both = torch.cat([image.to(memory_format=torch.contiguous_format) for image in images])
    domain = torch.tensor([Domain.SKETCH] + [Domain.PHOTO] * len(images[1]), device=both.device)
    encoder(both, domain)
    for norm in norms:
        norm.eval()
