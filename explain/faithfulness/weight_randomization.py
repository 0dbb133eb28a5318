"""Whether maps change when the encoder's weights are shuffled.

A map that stays the same explains the image and not the encoder (Adebayo et al., NeurIPS 2018).
"""

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.attribution.encoded_images import Centres
from ssl_sbir.explain.faithfulness.map_agreement import (
    compute_maps_and_pooled,
    compute_side_maps,
    map_agreements,
)

RANDOMIZATION_STAGES = 5


@dataclass(frozen=True)
class RandomizedAgreement:
    """How well maps agree with the original ones after the weights of some layers were shuffled, last layers first.

    Attributes:
        share: of the layers that were shuffled, 0..1.
        layer: the lowest layer that was shuffled.
        drawing: mean Spearman correlation with the original maps, −1..1; None without maps.
        photo: the same for the photos.
    """

    share: float
    layer: str
    drawing: float | None
    photo: float | None


def randomization_agreement(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    method: str,
    *,
    centres: Centres | None = None,
    stages: int = RANDOMIZATION_STAGES,
    seed: int = 0,
) -> list[RandomizedAgreement]:
    """The rank correlation of a method's maps with those of an encoder that is randomised layer by layer.

    Weights are shuffled within each tensor, so their distribution stays; batch norms are refitted to the images.

    Args:
        method: a key of `METHOD_MAPS`.
        stages: number of steps in which all layers are shuffled; one result for each.
        seed: of the shuffling.
    """
    images = sketch[None], photos
    before, pooled = compute_maps_and_pooled(encoder, images, method, centres)
    generator = torch.Generator().manual_seed(seed)
    changed = deepcopy(encoder).eval()
    layers = _layers_with_weights(changed)
    # An encoder of handmade features has no weights to shuffle.
    ends = [round(len(layers) * stage / stages) for stage in range(stages + 1)] if layers else []
    agreements = []
    for start, end in pairwise(ends):
        for _, layer in layers[start:end]:
            _shuffle_weights(layer, generator)
        _refit_batch_norms(changed, images)
        after = compute_side_maps(changed, images, method, centres, pooled)
        agreements.append(
            RandomizedAgreement(end / len(layers), layers[end - 1][0], *map_agreements(before, after))
        )
    return agreements


def _layers_with_weights(encoder: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules with weights of their own, last layers first."""
    holding = [
        (name or "encoder", part)
        for name, part in encoder.named_modules()
        if any(True for _ in part.parameters(recurse=False))
    ]
    return holding[::-1]


@torch.no_grad()
def _shuffle_weights(layer: nn.Module, generator: torch.Generator) -> None:
    for weight in layer.parameters(recurse=False):
        flat = weight.detach().flatten()
        order = torch.randperm(len(flat), generator=generator).to(flat.device)
        weight.copy_(flat[order].view_as(weight))


@torch.no_grad()
def _refit_batch_norms(encoder: Encoder, images: tuple[Tensor, Tensor]) -> None:
    """Sets the statistics of batch norms to those of the images: the trained ones don't fit shuffled weights."""
    norms = [part for part in encoder.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    both = torch.cat([image.to(memory_format=torch.contiguous_format) for image in images])
    domain = torch.tensor([Domain.SKETCH] + [Domain.PHOTO] * len(images[1]), device=both.device)
    encoder(both, domain)
    for norm in norms:
        norm.eval()
