"""A contact sheet of what training will see: images, their random views, and pseudo-sketches of photos."""

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ssl_sbir.augment import Augment, AugmentConfig, pseudo_sketch
from ssl_sbir.data.loading import Pack
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.errors import DataError
from ssl_sbir.seeding import seed_everything

GAP = 4


def contact_sheet(
    manifest: Manifest, pack: Pack, config: AugmentConfig, *, images: int = 6, views: int = 6, seed: int = 0
) -> Image.Image:
    """A sheet with a row for each of some photos, then of some sketches.

    In each row: the image, `views` random views of it, and for a photo its three kinds of pseudo-sketch.

    Args:
        manifest: the images.
        pack: their pixels.
        config: how strongly views differ.
        images: rows of each domain.
        views: views of each image.
        seed: decides which images and which views.

    Raises:
        DataError: there is no readable image.
    """
    seed_everything(seed)
    drawn = (_rows(manifest, pack, config, domain, images, views) for domain in (Domain.PHOTO, Domain.SKETCH))
    blocks = [block for block in drawn if block is not None]
    if not blocks:
        raise DataError(f"{manifest.name} has no readable image to show", "ssl-sbir data verify says why.")
    width = max(block.shape[1] for block in blocks)
    padded = [np.pad(b, ((0, 0), (0, width - b.shape[1]), (0, 0)), constant_values=200) for b in blocks]
    return Image.fromarray(np.concatenate(padded))


def _rows(
    manifest: Manifest, pack: Pack, config: AugmentConfig, domain: Domain, images: int, views: int
) -> np.ndarray | None:
    rows = manifest.rows(domain=domain)
    rows = rows[pack.ok[rows]]
    if not len(rows):
        return None
    chosen = np.sort(np.random.permutation(rows)[:images])
    image = pack.batch(chosen).float() / 255
    tags = torch.full((len(chosen),), int(domain))
    augment = Augment(config)
    columns = [image, *(augment(image, tags) for _ in range(views))]
    if domain is Domain.PHOTO:
        columns += [pseudo_sketch(image, detector) for detector in ("sobel", "canny", "mixed")]
    return _grid(torch.stack(columns, 1))


def _grid(cells: Float[Tensor, "rows columns 3 side side"]) -> np.ndarray:
    framed = torch.nn.functional.pad(cells, (GAP, GAP, GAP, GAP), value=0.78)
    rows, columns, _, h, w = framed.shape
    sheet = framed.permute(0, 3, 1, 4, 2).reshape(rows * h, columns * w, 3)
    return (sheet * 255).round().to(torch.uint8).numpy()
