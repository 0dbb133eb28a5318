"""How a photo answers a text: the text's part of its score, by the classes of a vocabulary and by the photo's regions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.explain.attribution.encoded_images import EncodedImages
from ssl_sbir.explain.attribution.grids import Grid, to_grid
from ssl_sbir.explain.attribution.occlusion import occlude_photos_for_query
from ssl_sbir.explain.attribution.region_pairs import region_contributions
from ssl_sbir.explain.text.text_reading import ClassContributions


@dataclass(frozen=True)
class TextMap:
    """Which regions of a photo answer a text.

    Attributes:
        method: `regions`, whose values sum to the text's part of the score; `occlusion` where an encoder's score can't
            be split into regions.
        photo: [h, w], in units of the score; negative where a region lowers it.
        delta: sum of the values minus the text's part; None for `occlusion`.
    """

    method: str
    photo: Grid
    delta: float | None


@dataclass(frozen=True)
class TextAnswer:
    """How one photo answers a query's text.

    Attributes:
        part: the text's part of the score: the product of its part of the query vector with the photo's unit vector.
        classes: what each class of the vocabulary adds to it; None for a text side without a vocabulary.
        map: what each region of the photo adds to it.
    """

    part: float
    classes: ClassContributions | None
    map: TextMap


def map_text_regions(part: Float[Tensor, " d"], photos: EncodedImages) -> list[TextMap]:
    """How much each region of each photo adds to the text's part of the score.

    With an embedding g that is the mean of m regions gⱼ, part · g / |g| = Σⱼ part · gⱼ / (m |g|).

    Args:
        part: the text's part of the query vector.
        photos: the photos.
    """
    part = part.to(photos.embedding)
    if photos.features is None:
        drops = part.norm() * occlude_photos_for_query(part[None], photos)
        return [TextMap("occlusion", to_grid(one), None) for one in drops.double().cpu()]
    cosines = region_contributions(part[:, None, None], photos.features)[:, 0]
    values = part.double().norm() * cosines.unflatten(1, photos.features.shape[2:])
    scores = part.norm() * torch.cosine_similarity(part[None], photos.embedding)
    deltas = (values.sum((1, 2)) - scores.double()).tolist()
    return [TextMap("regions", to_grid(one), delta) for one, delta in zip(values.cpu(), deltas, strict=True)]
