"""Hashes of pixels, which find identical images."""

import numpy as np
import numpy.typing as npt

from ssl_sbir.data.image_pack import Pack
from ssl_sbir.data.manifest import ManifestRows

HASH_CHUNK_BYTES = 32 << 20


def pixel_hashes(pack: Pack, rows: ManifestRows) -> npt.NDArray[np.int64]:
    """A 64-bit hash of each image's pixels; different images practically never have equal ones."""
    width = int(np.prod(pack.images.shape[1:]))
    weights = np.random.default_rng(0).integers(-(2**62), 2**62, -(-width // 8)) | 1
    step = max(1, HASH_CHUNK_BYTES // width)
    parts = [
        _hash_pixel_rows(pack, rows[start : start + step], width, weights)
        for start in range(0, len(rows), step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _hash_pixel_rows(
    pack: Pack, rows: ManifestRows, width: int, weights: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    words = np.zeros((len(rows), len(weights) * 8), np.uint8)
    words[:, :width] = pack.images[rows].reshape(len(rows), -1)
    with np.errstate(over="ignore"):
        mixed = (words.view(np.int64) ^ (words.view(np.int64) >> 29)) * weights
        return (mixed ^ (mixed >> 32)).sum(1)
