"""Occlusion: what the similarity loses when a window of the image is covered. Works with any encoder."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain.towers import Tower

STEPS = 7
BATCH = 64
# White paper covers a drawing; black would be the heaviest stroke of all.
COVER = {Domain.SKETCH: 1.0, Domain.PHOTO: 0.5}


def windows(height: int, width: int, steps: int = STEPS) -> Bool[Tensor, "windows {height} {width}"]:
    """Square windows on a grid, each twice as wide as its step so that neighbours overlap; True = covered."""
    rows, columns = _bands(height, steps), _bands(width, steps)
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def sketch_drops(sketch: Tower, photos: Tower, steps: int = STEPS) -> Float[Tensor, "k s s"]:
    """What each photo's similarity loses by covering each window of the drawing, embedded once."""
    covered = _embeddings(sketch, 0, steps)
    after = _cosines(covered, photos.embedding)
    whole = _cosines(sketch.embedding, photos.embedding)
    return (whole - after).T.unflatten(1, (steps, steps))


def photo_drops(sketch: Tower, photos: Tower, steps: int = STEPS) -> Float[Tensor, "k s s"]:
    """What each photo's similarity loses by covering each window of that photo."""
    whole = _cosines(photos.embedding, sketch.embedding)
    after = [_cosines(_embeddings(photos, row, steps), sketch.embedding) for row in range(len(photos.image))]
    return (whole[:, None] - torch.stack(after))[..., 0].unflatten(1, (steps, steps))


def _embeddings(side: Tower, row: int, steps: int) -> Tensor:
    image = side.image[row]
    covers = windows(image.shape[1], image.shape[2], steps).to(image.device)
    chunks = covers.split(BATCH)
    paint = torch.full_like(image[:1, :1, :1], COVER[side.domain])
    return torch.cat([side.embed(torch.where(chunk[:, None], paint, image[None])) for chunk in chunks])


def _cosines(ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.cosine_similarity(ours[:, None], theirs[None], dim=-1)


def _bands(length: int, steps: int) -> Tensor:
    centre = (torch.arange(steps) + 0.5) * length / steps
    return (torch.arange(length)[None] + 0.5 - centre[:, None]).abs() < length / steps
