"""Thumbnails of many images on few sheets."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F

from ssl_sbir.data.packs import Pack

SIDE = 72  # pixels of a thumbnail
COLUMNS = 24
SHEET = COLUMNS * COLUMNS  # thumbnails of a sheet
QUALITY = 72


@dataclass(frozen=True)
class Sheets:
    """Sheets of thumbnails.

    Attributes:
        images: the sheets, as webp.
        rows: the rows of the pack they show, ascending; the place of a row is its number in here.
    """

    images: list[bytes]
    rows: npt.NDArray[np.int64]

    def places(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The places of some rows."""
        return np.searchsorted(self.rows, rows)


def sheets(pack: Pack, rows: npt.NDArray[np.int64]) -> Sheets:
    """Sheets that show some rows of a pack, each once."""
    rows = np.unique(rows)
    return Sheets([_sheet(pack, rows[at : at + SHEET]) for at in range(0, len(rows), SHEET)], rows)


def _sheet(pack: Pack, rows: npt.NDArray[np.int64]) -> bytes:
    small = F.interpolate(pack.batch(rows).float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    height = -(-len(rows) // COLUMNS)
    canvas = torch.full((height * COLUMNS, 3, SIDE, SIDE), 255.0)
    canvas[: len(rows)] = small
    tiled = canvas.view(height, COLUMNS, 3, SIDE, SIDE).permute(0, 3, 1, 4, 2).reshape(height * SIDE, -1, 3)
    file = io.BytesIO()
    Image.fromarray(tiled.clamp(0, 255).byte().numpy()).save(file, "WEBP", quality=QUALITY)
    return file.getvalue()
