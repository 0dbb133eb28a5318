"""Occlusion: how much the similarity drops when a window of the image is covered. Works with any encoder."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain.attribution.encoded_images import EncodedImages

OCCLUSION_STEPS = 7
OCCLUSION_BATCH = 64
# Drawings are covered with white paper: black is the colour of strokes.
COVER_VALUE = {Domain.SKETCH: 1.0, Domain.PHOTO: 0.5}


def occlusion_windows(
    height: int, width: int, steps: int = OCCLUSION_STEPS
) -> Bool[Tensor, "windows {height} {width}"]:
    """Rectangular windows on a grid, each twice as wide as its step so that neighbours overlap; True = covered."""
    rows, columns = _window_bands(height, steps), _window_bands(width, steps)
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def occlude_sketch(
    sketch: EncodedImages, photos: EncodedImages, steps: int = OCCLUSION_STEPS
) -> Float[Tensor, "k s s"]:
    """How much each photo's similarity drops when each window of the drawing is covered."""
    covered = _occluded_embeddings(sketch, 0, steps)
    after = _pairwise_cosines(covered, photos.embedding)
    whole = _pairwise_cosines(sketch.embedding, photos.embedding)
    return (whole - after).T.unflatten(1, (steps, steps))


def occlude_photos(
    sketch: EncodedImages, photos: EncodedImages, steps: int = OCCLUSION_STEPS
) -> Float[Tensor, "k s s"]:
    """How much each photo's similarity drops when each window of that photo is covered."""
    return occlude_photos_for_query(sketch.embedding, photos, steps)


def occlude_photos_for_query(
    query: Float[Tensor, "1 d"], photos: EncodedImages, steps: int = OCCLUSION_STEPS
) -> Float[Tensor, "k s s"]:
    """How much each photo's cosine with a vector drops when each window of that photo is covered."""
    whole = _pairwise_cosines(photos.embedding, query)
    after = [
        _pairwise_cosines(_occluded_embeddings(photos, row, steps), query) for row in range(len(photos.image))
    ]
    return (whole[:, None] - torch.stack(after))[..., 0].unflatten(1, (steps, steps))


def _occluded_embeddings(side: EncodedImages, row: int, steps: int) -> Tensor:
    image = side.image[row]
    covers = occlusion_windows(image.shape[1], image.shape[2], steps).to(image.device)
    chunks = covers.split(OCCLUSION_BATCH)
    paint = torch.full_like(image[:1, :1, :1], COVER_VALUE[side.domain])
    return torch.cat([side.embed(torch.where(chunk[:, None], paint, image[None])) for chunk in chunks])


def _pairwise_cosines(ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.cosine_similarity(ours[:, None], theirs[None], dim=-1)


def _window_bands(length: int, steps: int) -> Tensor:
    centre = (torch.arange(steps) + 0.5) * length / steps
    return (torch.arange(length)[None] + 0.5 - centre[:, None]).abs() < length / steps
