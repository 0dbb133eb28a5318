"""The image of a query, given as a file, an array, a PIL image, an SVG drawing or pen strokes."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.decode_image import decode_image
from ssl_sbir.data.quickdraw_strokes import rasterize_strokes
from ssl_sbir.data.sketch_warnings import MIN_INK_CONTRAST, blank_tone, sketch_warnings
from ssl_sbir.errors import DataError, QueryError
from ssl_sbir.files import is_file

STROKES_CANVAS_SIDE, MAX_SVG_BYTES = 256, 5_000_000  # pixels; bytes
UNIT_RANGE_LIMIT = 2.0  # floats up to here are in 0..1: resampling goes beyond 1
QUERY_IMAGE_HINT = (
    "Give a file, a PIL image, an array [h, w] or [h, w, 3], an SVG file, or strokes [[xs, ys], …]."
)


@dataclass(frozen=True)
class QueryImage:
    """One image of a query.

    Attributes:
        name: for people.
        image: the image; None for a file, which is read when it is used.
        file: its path, for a file.
    """

    name: str
    image: Image.Image | None = None
    file: Path | None = None

    def open(self, key: str, size: int) -> Image.Image:  # noqa: ARG002 - the image has its own size
        """The image: it is its own `ImageSource`."""
        return self.image.copy() if self.image is not None else Image.open(str(self.file))

    def fingerprint(self, keys: Iterable[str]) -> str:  # noqa: ARG002
        """Empty: a query's image is not cached."""
        return ""

    def path(self, key: str) -> Path | None:  # noqa: ARG002
        """The file; None for an image in memory."""
        return self.file

    def load_pixels(self, size: int, fit: str) -> npt.NDArray[np.uint8]:
        """The image as an encoder takes it, [size, size, 3].

        Raises:
            QueryError: it can't be read; the message says why.
        """
        try:
            return decode_image(self, self.name, size, fit)
        except DataError as error:
            raise QueryError(error.message, QUERY_IMAGE_HINT) from error

    def load_sketch(self, size: int, fit: str) -> tuple[npt.NDArray[np.uint8], list[str]]:
        """The drawing as an encoder takes it, [size, size, 3], and warnings about it, a sentence each.

        Raises:
            QueryError: it can't be read, it is blank, or its lines vanish at that size.
        """
        pixels = self.load_pixels(size, fit)
        if tone := blank_tone(pixels):
            raise self._blank_error(tone, size)
        return pixels, sketch_warnings(pixels)

    def _blank_error(self, tone: str, size: int) -> QueryError:
        with self.open(self.name, size) as image:
            low, high = image.convert("L").getextrema()
        if float(high) - float(low) < MIN_INK_CONTRAST:  # type: ignore[arg-type]
            return QueryError(f"the drawing is {tone}: there is nothing to search for", "Draw something.")
        return QueryError(
            f"the drawing's lines vanish at {size} px: they are too thin for so large a page",
            "Draw with a thicker pen, or crop the page to the drawing.",
        )


def to_query_image(value: Any, modality: str) -> QueryImage:
    """Any form of an image as a `QueryImage`.

    Args:
        value: a path, a PIL image, an array or tensor [h, w], [h, w, 3 or 4] or [3, h, w] (uint8, or floats in 0..1),
            the path or the text of an SVG drawing, or strokes [[xs, ys], …] with coordinates in 0..255; another
            range is scaled to that, keeping proportions.
        modality: "sketch" or "photo", for messages.

    Raises:
        QueryError: it is none of these, or the file doesn't exist.
    """
    if isinstance(value, QueryImage):
        return value
    if isinstance(value, str | Path):
        return _from_path_or_svg(value, modality)
    if isinstance(value, Image.Image):
        return QueryImage(modality, value)
    if isinstance(value, torch.Tensor):
        value = (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return QueryImage(modality, _image_from_array(value, modality))
    if is_strokes(value):
        return QueryImage("strokes", _image_from_strokes(value))
    raise QueryError(f"a {modality} of type {type(value).__name__}", QUERY_IMAGE_HINT)


def is_strokes(value: Any) -> bool:
    """Whether a value is the strokes of one drawing in QuickDraw's form, rather than a list of images."""
    if isinstance(value, dict):
        return "drawing" in value
    if not isinstance(value, list | tuple):
        return False
    try:
        if isinstance(value[0], np.ndarray):
            return value[0].ndim == 2 and len(value[0]) in (2, 3)  # xs, ys and perhaps times
        if not isinstance(value[0], list | tuple):
            return False
        xs, ys = value[0][:2]
        return all(isinstance(number, int | float | np.number) for number in (xs[0], ys[0]))
    except (TypeError, IndexError, ValueError, KeyError):
        return False


def _from_path_or_svg(value: str | Path, modality: str) -> QueryImage:
    if isinstance(value, str) and value.lstrip().startswith(("<svg", "<?xml")):
        return QueryImage("drawing.svg", _rasterize_svg(value))
    path = Path(value)
    if not is_file(path):
        raise QueryError(f"{modality} {printable_name(str(value))[:200]!r}: no such file", QUERY_IMAGE_HINT)
    name = printable_name(path.name)
    if path.suffix.lower() == ".svg":
        if path.stat().st_size > MAX_SVG_BYTES:
            raise QueryError(f"{name}: an SVG file of more than {MAX_SVG_BYTES:,} bytes", "Simplify it.")
        return QueryImage(name, _rasterize_svg(path.read_text("utf-8", "replace")), path)
    return QueryImage(name, None, path)


def _rasterize_svg(text: str) -> Image.Image:
    try:
        import resvg_py
    except ImportError as error:
        raise QueryError("an SVG drawing needs resvg-py", "pip install resvg-py") from error
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=text,
            width=STROKES_CANVAS_SIDE,
            height=STROKES_CANVAS_SIDE,
            background="#ffffff",
            skip_system_fonts=True,
        )
    except (ValueError, RuntimeError) as error:
        raise QueryError(f"the SVG drawing can't be read: {error}", QUERY_IMAGE_HINT) from error
    return Image.open(io.BytesIO(bytes(png)))


def _image_from_array(array: npt.NDArray[Any], modality: str) -> Image.Image:
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise QueryError(f"a {modality} of shape {list(array.shape)}", QUERY_IMAGE_HINT)
    if array.dtype != np.uint8:
        whole = np.nan_to_num(array.astype(np.float64))
        unit = np.issubdtype(array.dtype, np.floating) and whole.max() <= UNIT_RANGE_LIMIT
        array = np.clip(whole * 255 if unit or whole.max() <= 1 else whole, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _image_from_strokes(value: Any) -> Image.Image:
    strokes = value["drawing"] if isinstance(value, dict) else value
    try:
        plain = [[[float(v) for v in line] for line in stroke[:2]] for stroke in strokes]
        return rasterize_strokes(_fit_strokes_to_canvas(plain), STROKES_CANVAS_SIDE)
    except (TypeError, ValueError, IndexError) as error:
        raise QueryError(f"strokes that can't be drawn: {error}", QUERY_IMAGE_HINT) from error


def _fit_strokes_to_canvas(strokes: list[list[list[float]]]) -> list[list[list[int | float]]]:
    """Strokes with coordinates in 0..255: unchanged, or scaled where they lie outside or all within 0..1."""
    points = np.concatenate([np.asarray(stroke, dtype=np.float64) for stroke in strokes], 1)
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is not a number")
    low, high = points.min(), points.max()
    if low >= 0 and 1 < high < STROKES_CANVAS_SIDE:
        return strokes  # type: ignore[return-value]
    corner, side = points.min(1, keepdims=True), float(np.ptp(points, axis=1).max()) or 1.0
    return [
        ((np.asarray(stroke) - corner) * ((STROKES_CANVAS_SIDE - 1) / side)).tolist() for stroke in strokes
    ]
