"""Thumbnails of many images, combined into a few sheets."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F

from ssl_sbir.data.image_pack import Pack

THUMBNAIL_SIDE = 72  # pixels
SHEET_COLUMNS = 24
THUMBNAILS_PER_SHEET = SHEET_COLUMNS * SHEET_COLUMNS
SHEET_WEBP_QUALITY = 72


@dataclass(frozen=True)
class ThumbnailSheets:
    """Sheets of thumbnails.

    Attributes:
        images: the sheets, as webp.
        rows: the rows of the pack they show, ascending; a thumbnail's index is the index of its row in here.
    """

    images: list[bytes]
    rows: npt.NDArray[np.int64]

    def thumbnail_indices(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The thumbnails' indices of some rows."""
        return np.searchsorted(self.rows, rows)


def build_sheets(pack: Pack, rows: npt.NDArray[np.int64]) -> ThumbnailSheets:
    """Sheets that show some rows of a pack, each once."""
    rows = np.unique(rows)
    return ThumbnailSheets(
        [
            _render_sheet(pack, rows[at : at + THUMBNAILS_PER_SHEET])
            for at in range(0, len(rows), THUMBNAILS_PER_SHEET)
        ],
        rows,
    )


def _render_sheet(pack: Pack, rows: npt.NDArray[np.int64]) -> bytes:
    small = F.interpolate(
        pack.read_images(rows).float(), (THUMBNAIL_SIDE, THUMBNAIL_SIDE), mode="bilinear", antialias=True
    )
    height = -(-len(rows) // SHEET_COLUMNS)
    canvas = torch.full((height * SHEET_COLUMNS, 3, THUMBNAIL_SIDE, THUMBNAIL_SIDE), 255.0)
    canvas[: len(rows)] = small
    tiled = (
        canvas.view(height, SHEET_COLUMNS, 3, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        .permute(0, 3, 1, 4, 2)
        .reshape(height * THUMBNAIL_SIDE, -1, 3)
    )
    file = io.BytesIO()
    Image.fromarray(tiled.clamp(0, 255).byte().numpy()).save(file, "WEBP", quality=SHEET_WEBP_QUALITY)
    return file.getvalue()
