"""One image of any kind as square uint8 RGB, or the reason why it can't be read. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.manifest import ImageSource
from ssl_sbir.errors import DataError

FITS = ("squash", "crop", "pad", "ink")
MAX_PIXELS = 89_478_485  # Pillow's own threshold for a decompression bomb: 256 MB of RGB
DECODER_VERSION = "1"  # part of every pack's key; increase it when decoded pixels change
RGB_WHITE = (255, 255, 255)
PAPER_BRIGHTNESS = 230  # of 255; paper is at least that bright, ink is darker
PAPER_SHARE = 0.8  # at least this share of an image's border pixels is paper, or "ink" doesn't apply
INK_SIDE = 0.8  # share of the square's side that the drawing's longer side then fills
INK_CANVAS = 4096  # largest side of that square, in pixels


@dataclass(frozen=True)
class BrokenImage:
    """An image that can't be read, and the reason."""

    key: str
    reason: str


def decode_image(source: ImageSource, key: str, size: int, fit: str = "squash") -> npt.NDArray[np.uint8]:
    """A uint8 [size, size, 3] RGB image, upright, transparent parts on white.

    Args:
        source: opens the image.
        key: which one.
        size: side in pixels.
        fit: "squash" resizes both sides to `size`, "crop" keeps the centre square, "pad" adds white. "ink" crops to
            the ink on white paper, so that every drawing has the same size; an image without white borders is
            squashed.

    Raises:
        DataError: it can't be read; the message ends with the reason.
    """
    image, broken = decode_or_reason(source, key, size, fit)
    if image is None:
        raise DataError(f"{printable_name(key)}: {broken}", "Replace or remove the file.")
    return image


def decode_or_reason(
    source: ImageSource, key: str, size: int, fit: str
) -> tuple[npt.NDArray[np.uint8] | None, str]:
    """Like `decode_image`, but for a broken image None and the reason."""
    try:
        with source.open(key, size) as image:
            return _resize_to_square(_load_upright_rgb(image, size), size, fit), ""
    except Exception as error:  # for a hostile file Pillow raises nearly anything, even SyntaxError
        return None, _describe_decode_error(source, key, error)


def decode_image_list(
    source: ImageSource, keys: Sequence[str], size: int, fit: str
) -> tuple[npt.NDArray[np.uint8], dict[int, BrokenImage]]:
    """Some images [n, size, size, 3], broken ones white, and the broken ones by index."""
    images = np.full((len(keys), size, size, 3), 255, dtype=np.uint8)
    broken = {}
    for index, key in enumerate(keys):
        image, reason = decode_or_reason(source, key, size, fit)
        if image is None:
            broken[index] = BrokenImage(key, reason)
        else:
            images[index] = image
    return images, broken


def _load_upright_rgb(image: Image.Image, size: int) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    image.draft(image.mode, (2 * size, 2 * size))  # JPEG only: decoding at 1/2, 1/4 or 1/8 is cheap
    return _convert_to_rgb(ImageOps.exif_transpose(image))


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, RGB_WHITE)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def _to_eight_bits(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Grey values of 16 bits, or floats in 0..1 or 0..255, as values of 8 bits."""
    if values.dtype.kind == "f":
        scale = 255.0 if np.nanmax(values, initial=0) <= 1 else 1.0
        return np.clip(np.nan_to_num(values) * scale, 0, 255).astype(np.uint8)
    return (np.clip(values.astype(np.int64), 0, 65535) // 257).astype(np.uint8)


def _resize_to_square(image: Image.Image, size: int, fit: str) -> npt.NDArray[np.uint8]:
    box = (size, size)
    image = _crop_to_ink(image) if fit == "ink" else image
    if fit == "crop":
        image = ImageOps.fit(image, box, Image.Resampling.BICUBIC)
    elif fit == "pad":
        image = ImageOps.pad(image, box, Image.Resampling.BICUBIC, RGB_WHITE)
    elif image.size != box:
        image = image.resize(box, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _crop_to_ink(image: Image.Image) -> Image.Image:
    """The square around the ink on white paper, INK_SIDE of it filled; other images are returned unchanged."""
    grey = np.asarray(image.convert("L"))
    edges = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = grey < PAPER_BRIGHTNESS
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if (edges >= PAPER_BRIGHTNESS).mean() < PAPER_SHARE or not len(rows):
        return image
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    # Enlarged at most ten times, so that a speck of dust stays small.
    side = max(bottom - top, right - left, max(image.size) * INK_SIDE / 10) / INK_SIDE
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    canvas_side = round(side)
    if canvas_side > INK_CANVAS:  # a long thin picture, whose square would be many times as large
        return _shrink_ink(image.crop((left, top, right, bottom)), INK_CANVAS / side, (left - x, top - y))
    shift = (1, 0, round(x), 0, 1, round(y))
    return image.transform((canvas_side, canvas_side), Image.Transform.AFFINE, shift, fillcolor=RGB_WHITE)


def _shrink_ink(ink: Image.Image, factor: float, corner: tuple[float, float]) -> Image.Image:
    small = [max(1, round(side * factor)) for side in ink.size]
    ground = Image.new("RGB", (INK_CANVAS, INK_CANVAS), RGB_WHITE)
    left, top = (round(at * factor) for at in corner)
    ground.paste(ink.resize(small, Image.Resampling.BICUBIC), (left, top))
    return ground


def _describe_decode_error(source: ImageSource, key: str, error: Exception) -> str:
    path = source.path(key)
    if isinstance(error, DataError):
        return error.message
    if path is not None and not path.is_file():
        return "the file no longer exists"
    if path is not None and path.stat().st_size == 0:
        return "the file is empty (0 bytes)"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS:,} pixels: refused without decoding"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return " ".join(str(error).split()) or type(error).__name__
