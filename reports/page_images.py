"""Images inside a page: data URIs with explicit sizes, and heat maps with colour-blind safe palettes."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

ImageFormat = Literal["png", "webp", "jpeg"]
DATA_URI_QUALITY = 82
# From Okabe and Ito's colour-blind safe palette.
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)

# viridis at nine even steps, as in matplotlib: lightness rises throughout, so it is colour-blind safe.
_VIRIDIS = np.array(
    [
        [68, 1, 84],
        [71, 44, 122],
        [59, 81, 139],
        [44, 113, 142],
        [33, 144, 141],
        [39, 173, 129],
        [92, 200, 99],
        [170, 220, 50],
        [253, 231, 37],
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class PageImage:
    """An image for a page: its `uri` (data:), and its `width` and `height` in pixels."""

    uri: str
    width: int
    height: int


def to_page_image(image: Any, *, side: int | None = None, kind: ImageFormat = "webp") -> PageImage:
    """An image for a page.

    Args:
        image: a PIL image, or an array [h, w], [h, w, 3] or [h, w, 4]; uint8, or floats in 0..1.
        side: the longest side in pixels; larger images are shrunk, smaller ones are unchanged.
        kind: webp and jpeg for photos, png for drawings and charts.
    """
    page_image = to_pil(image)
    if side is not None and max(page_image.size) > side:
        page_image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return PageImage(data_uri(page_image, kind), *page_image.size)


def data_uri(image: Any, kind: ImageFormat = "webp") -> str:
    """The image as a `data:image/…;base64,…` URI; jpeg replaces transparency by white."""
    encoded, file = to_pil(image), io.BytesIO()
    if kind == "png":
        encoded.save(file, "PNG", optimize=True)
    else:
        encoded = on_white(encoded) if kind == "jpeg" else encoded
        encoded.save(file, kind.upper(), quality=DATA_URI_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def to_pil(image: Any) -> Image.Image:
    """An RGB or RGBA copy of a PIL image or an array ([h, w], [h, w, 3 or 4]; uint8 or floats in 0..1)."""
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8:
            array = (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)
        image = Image.fromarray(array)
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def on_white(image: Image.Image) -> Image.Image:
    """The image in RGB, on a white background."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    background = Image.new("RGB", image.size, "white")
    background.paste(image, mask=image.getchannel("A"))
    return background


def viridis_colors(values: Any) -> np.ndarray:
    """The colours uint8 [..., 3] of values in 0..1: dark violet at 0, green, yellow at 1."""
    position = np.clip(np.asarray(values, np.float32), 0, 1) * (len(_VIRIDIS) - 1)
    low = np.minimum(position.astype(int), len(_VIRIDIS) - 2)
    share = (position - low)[..., None]
    return (_VIRIDIS[low] * (1 - share) + _VIRIDIS[low + 1] * share + 0.5).astype(np.uint8)


def heat_map(values: Sequence[Sequence[float]] | np.ndarray, size: tuple[int, int]) -> Image.Image:
    """An RGBA overlay [height, width] of a map [h, w] in 0..1, resized smoothly to `size` (width, height).

    Transparent at 0, nearly opaque at 1.
    """
    small = Image.fromarray(np.asarray(values, np.float32))
    smooth = np.clip(np.asarray(small.resize(size, Image.Resampling.BICUBIC)), 0, 1)
    alpha = (smooth**0.8 * 235 + 0.5).astype(np.uint8)
    return Image.fromarray(np.concatenate([viridis_colors(smooth), alpha[..., None]], -1))


def contrast_map(values: Sequence[Sequence[float]] | np.ndarray, size: tuple[int, int]) -> Image.Image:
    """An RGBA overlay of a signed map [h, w] in −1..1, resized smoothly to `size`: blue above zero, orange below."""
    small = Image.fromarray(np.asarray(values, np.float32))
    smooth = np.clip(np.asarray(small.resize(size, Image.Resampling.BICUBIC)), -1, 1)
    paint = np.where((smooth >= 0)[..., None], np.array(BLUE), np.array(ORANGE)).astype(np.uint8)
    alpha = (np.abs(smooth) ** 0.8 * 215 + 0.5).astype(np.uint8)
    return Image.fromarray(np.concatenate([paint, alpha[..., None]], -1))
