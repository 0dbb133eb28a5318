"""A contact sheet of what training sees: images, random views of them, and pseudo-sketches of photos."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ssl_sbir.augment.kornia_views import Augment
from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Pack
from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.choices import EdgeDetector
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.errors import DataError
from ssl_sbir.seeding import seed_everything

SHEET_GAP = 4


def contact_sheet(
    manifest: Manifest,
    pack: Pack,
    config: AugmentConfig,
    *,
    detectors: Sequence[EdgeDetector] = ("sobel", "canny", "mixed"),
    images: int = 6,
    views: int = 6,
    seed: int = 0,
) -> Image.Image:
    """A sheet with one row per image: some photos, then some sketches.

    A row shows the image and random views of it; for a photo also, for each edge detector, its pseudo-sketch and a
    random view of that.

    Args:
        manifest: the images.
        pack: their pixels.
        config: strengths of the views.
        detectors: edge detectors that make the pseudo-sketches.
        images: rows of each domain.
        views: views of each image.
        seed: selects images and views.

    Raises:
        DataError: there is no readable image.
    """
    seed_everything(seed)
    chosen = {
        domain: _sample_preview_rows(manifest, pack, domain, images)
        for domain in (Domain.PHOTO, Domain.SKETCH)
    }
    if not any(len(rows) for rows in chosen.values()):
        raise DataError(f"{manifest.name} has no readable image to show", "ssl-sbir data verify says why.")
    data = TrainingSet.from_manifest(manifest, pack, None, labelled=False)
    blocks = [_preview_block(data, rows, config, detectors, views) for rows in chosen.values() if len(rows)]
    width = max(block.shape[1] for block in blocks)
    padded = [np.pad(b, ((0, 0), (0, width - b.shape[1]), (0, 0)), constant_values=200) for b in blocks]
    return Image.fromarray(np.concatenate(padded))


def _sample_preview_rows(manifest: Manifest, pack: Pack, domain: Domain, images: int) -> ManifestRows:
    rows = manifest.find_rows(domain=domain)
    return np.sort(np.random.permutation(rows[pack.ok[rows]])[:images])


def _preview_block(
    data: TrainingSet,
    rows: ManifestRows,
    config: AugmentConfig,
    detectors: Sequence[EdgeDetector],
    views: int,
) -> np.ndarray:
    batch, augment = data.read_batch(rows).to("cpu"), Augment(config)
    columns = [batch.image, *(augment(batch.image, batch.domain) for _ in range(views))]
    if batch.domain[0] == Domain.PHOTO:
        for detector in detectors:
            page = PseudoSketcher.for_training_set(detector, data, "cpu")(batch)
            columns += [page, augment(page, torch.full_like(batch.domain, Domain.SKETCH))]
    return _tile_cells(torch.stack(columns, 1))


def _tile_cells(cells: Float[Tensor, "rows columns 3 side side"]) -> np.ndarray:
    framed = torch.nn.functional.pad(cells, (SHEET_GAP, SHEET_GAP, SHEET_GAP, SHEET_GAP), value=0.78)
    rows, columns, _, h, w = framed.shape
    sheet = framed.permute(0, 3, 1, 4, 2).reshape(rows * h, columns * w, 3)
    return (sheet * 255).round().to(torch.uint8).numpy()
