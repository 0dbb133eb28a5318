"""One image of any kind as square uint8 RGB, or the reason why not. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ssl_sbir.data.manifest import ImageSource
from ssl_sbir.data.names import printable
from ssl_sbir.errors import DataError

FITS = ("squash", "crop", "pad")
MAX_PIXELS = 89_478_485  # Pillow's own threshold for a decompression bomb: 256 MB of RGB
DECODER_VERSION = "1"  # part of every pack's key: raise it when decoded pixels change
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Broken:
    """An image that can't be read, and why."""

    key: str
    reason: str


def decode(source: ImageSource, key: str, size: int, fit: str = "squash") -> npt.NDArray[np.uint8]:
    """A uint8 [size, size, 3] RGB image, upright, on white where it was transparent.

    Args:
        source: opens the image.
        key: which one.
        size: side in pixels.
        fit: "squash" resizes both sides to `size`, "crop" keeps the centre square, "pad" adds white.

    Raises:
        DataError: it can't be read; the message ends with the reason.
    """
    image, broken = decode_or_reason(source, key, size, fit)
    if image is None:
        raise DataError(f"{printable(key)}: {broken}", "Replace or remove the file.")
    return image


def decode_or_reason(
    source: ImageSource, key: str, size: int, fit: str
) -> tuple[npt.NDArray[np.uint8] | None, str]:
    """As `decode`, but a broken image gives None and the reason."""
    try:
        with source.open(key, size) as image:
            return _square(_upright(image, size), size, fit), ""
    except Exception as error:  # a hostile file makes Pillow raise nearly anything, even SyntaxError
        return None, _reason(source, key, error)


def decode_many(
    source: ImageSource, keys: Sequence[str], size: int, fit: str
) -> tuple[npt.NDArray[np.uint8], dict[int, Broken]]:
    """Some images [n, size, size, 3], white where one is broken, and the broken ones by position."""
    images = np.full((len(keys), size, size, 3), 255, dtype=np.uint8)
    broken = {}
    for place, key in enumerate(keys):
        image, reason = decode_or_reason(source, key, size, fit)
        if image is None:
            broken[place] = Broken(key, reason)
        else:
            images[place] = image
    return images, broken


def _upright(image: Image.Image, size: int) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    image.draft(image.mode, (2 * size, 2 * size))  # JPEG only: decodes at 1/2, 1/4 or 1/8 for nearly nothing
    return _rgb(ImageOps.exif_transpose(image))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, WHITE)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def _eight_bits(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Grey values of 16 bits, or floats in 0..1 or 0..255, as 8 bits."""
    if values.dtype.kind == "f":
        scale = 255.0 if np.nanmax(values, initial=0) <= 1 else 1.0
        return np.clip(np.nan_to_num(values) * scale, 0, 255).astype(np.uint8)
    return (np.clip(values.astype(np.int64), 0, 65535) // 257).astype(np.uint8)


def _square(image: Image.Image, size: int, fit: str) -> npt.NDArray[np.uint8]:
    box = (size, size)
    if fit == "crop":
        image = ImageOps.fit(image, box, Image.Resampling.BICUBIC)
    elif fit == "pad":
        image = ImageOps.pad(image, box, Image.Resampling.BICUBIC, WHITE)
    elif image.size != box:
        image = image.resize(box, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _reason(source: ImageSource, key: str, error: Exception) -> str:
    path = source.path(key)
    if isinstance(error, DataError):
        return error.message
    if path is not None and not path.is_file():
        return "the file is gone"
    if path is not None and path.stat().st_size == 0:
        return "the file is empty (0 bytes)"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS:,} pixels: refused without decoding"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return " ".join(str(error).split()) or type(error).__name__
