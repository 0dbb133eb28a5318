"""A picture that is searched for, however it was given: a file, an array, a PIL image, an SVG drawing or pen strokes."""

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
from ssl_sbir.errors import DataError, QueryError
from ssl_sbir.files import is_file

STROKES_CANVAS_SIDE, MAX_SVG_BYTES = 256, 5_000_000  # side of drawn strokes; bytes of an SVG file
UNIT_RANGE_LIMIT = 2.0  # floats up to here are of 0..1: resampling goes beyond 1
MIN_INK_CONTRAST = 24  # of 255: what differs from the paper by less is no ink
MAX_MIDTONE_FRACTION = (
    0.2  # of 313 human sketches 1 has more pixels that are neither paper nor ink; of 313 photos 4 in 5 do
)
QUERY_IMAGE_HINT = (
    "Give a file, a PIL image, an array [h, w] or [h, w, 3], an SVG file, or strokes [[xs, ys], …]."
)


@dataclass(frozen=True)
class QueryImage:
    """One picture of a query.

    Attributes:
        name: for people.
        image: what was given; a file's is read when it is asked for.
        file: where it lies, for a file.
    """

    name: str
    image: Image.Image | None = None
    file: Path | None = None

    def open(self, key: str, size: int) -> Image.Image:  # noqa: ARG002 - it has a size of its own
        """The image; this makes a picture the source of itself."""
        return self.image.copy() if self.image is not None else Image.open(str(self.file))

    def fingerprint(self, keys: Iterable[str]) -> str:  # noqa: ARG002
        """Nothing to be cached under."""
        return ""

    def path(self, key: str) -> Path | None:  # noqa: ARG002
        """The file, if it is one."""
        return self.file

    def load_pixels(self, size: int, fit: str) -> npt.NDArray[np.uint8]:
        """The picture as an encoder takes it, [size, size, 3].

        Raises:
            QueryError: it can't be read; says why.
        """
        try:
            return decode_image(self, self.name, size, fit)
        except DataError as error:
            raise QueryError(error.message, QUERY_IMAGE_HINT) from error

    def load_sketch(self, size: int, fit: str) -> tuple[npt.NDArray[np.uint8], list[str]]:
        """The picture as an encoder takes it, and what makes it doubtful as a drawing, a sentence each.

        Raises:
            QueryError: it can't be read, or nothing of it is left at that size.
        """
        pixels = self.load_pixels(size, fit)
        try:
            return pixels, sketch_warnings(pixels)
        except QueryError as error:
            with self.open(self.name, size) as image:
                low, high = image.convert("L").getextrema()
            if float(high) - float(low) < MIN_INK_CONTRAST:  # type: ignore[arg-type]
                raise
            raise QueryError(
                f"the drawing's lines vanish at {size} px: they are too thin for so large a page",
                "Draw with a thicker pen, or crop the page to the drawing.",
            ) from error


def to_query_image(given: Any, modality: str) -> QueryImage:
    """The picture that was given.

    Args:
        given: a path, a PIL image, an array or tensor [h, w], [h, w, 3 or 4] or [3, h, w] (uint8, or floats in 0..1),
            the path or the text of an SVG drawing, or strokes [[xs, ys], …] with coordinates in 0..255; those of
            another range are brought there, their proportions kept.
        modality: "sketch" or "photo", for messages.

    Raises:
        QueryError: it is none of these, or the file isn't there.
    """
    if isinstance(given, QueryImage):
        return given
    if isinstance(given, str | Path):
        return _from_path_or_svg(given, modality)
    if isinstance(given, Image.Image):
        return QueryImage(modality, given)
    if isinstance(given, torch.Tensor):
        given = (given.float() if given.is_floating_point() else given).detach().cpu().numpy()
    if isinstance(given, np.ndarray):
        return QueryImage(modality, _image_from_array(given, modality))
    if is_strokes(given):
        return QueryImage("strokes", _image_from_strokes(given))
    raise QueryError(f"a {modality} of type {type(given).__name__}", QUERY_IMAGE_HINT)


def is_strokes(given: Any) -> bool:
    """Whether a value is a drawing's strokes, as QuickDraw has them, and not a list of pictures."""
    if isinstance(given, dict):
        return "drawing" in given
    if not isinstance(given, list | tuple):
        return False
    try:
        if isinstance(given[0], np.ndarray):
            return given[0].ndim == 2 and len(given[0]) in (2, 3)  # xs, ys and perhaps times
        if not isinstance(given[0], list | tuple):
            return False
        xs, ys = given[0][:2]
        return all(isinstance(value, int | float | np.number) for value in (xs[0], ys[0]))
    except (TypeError, IndexError, ValueError, KeyError):
        return False


def sketch_warnings(pixels: npt.NDArray[np.uint8]) -> list[str]:
    """What makes a drawing doubtful as a query, a sentence each.

    Raises:
        QueryError: it is blank, or black all over.
    """
    grey = pixels.astype(np.int16).mean(2)
    if np.ptp(grey) < MIN_INK_CONTRAST:
        tone = "black all over" if grey.mean() < 128 else "blank"
        raise QueryError(f"the drawing is {tone}: there is nothing to search for", "Draw something.")
    if np.median(grey) < 128 and not _looks_like_photo(grey):
        return ["The drawing is light on dark; encoders expect dark lines on white paper."]
    if _looks_like_photo(grey):
        return ["The sketch looks like a photo; give it as photo (--photo) to find its like."]
    return []


def _looks_like_photo(grey: npt.NDArray[np.floating]) -> bool:
    """Whether too many pixels are neither paper (the commonest tone) nor dark ink."""
    tones = np.bincount((grey.astype(int) // 16).ravel(), minlength=16)
    paper = int(tones.argmax()) * 16 + 8
    ink = grey.min() if paper > 128 else grey.max()
    return float(((np.abs(grey - paper) > 40) & (np.abs(grey - ink) > 40)).mean()) > MAX_MIDTONE_FRACTION


def _from_path_or_svg(given: str | Path, what: str) -> QueryImage:
    if isinstance(given, str) and given.lstrip().startswith(("<svg", "<?xml")):
        return QueryImage("drawing.svg", _rasterize_svg(given))
    path = Path(given)
    if not is_file(path):
        raise QueryError(f"{what} {printable_name(str(given))[:200]!r}: no such file", QUERY_IMAGE_HINT)
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


def _image_from_array(array: npt.NDArray[Any], what: str) -> Image.Image:
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise QueryError(f"a {what} of shape {list(array.shape)}", QUERY_IMAGE_HINT)
    if array.dtype != np.uint8:
        whole = np.nan_to_num(array.astype(np.float64))
        unit = np.issubdtype(array.dtype, np.floating) and whole.max() <= UNIT_RANGE_LIMIT
        array = np.clip(whole * 255 if unit or whole.max() <= 1 else whole, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _image_from_strokes(given: Any) -> Image.Image:
    strokes = given["drawing"] if isinstance(given, dict) else given
    try:
        plain = [[[float(v) for v in line] for line in stroke[:2]] for stroke in strokes]
        return rasterize_strokes(_fit_strokes_to_canvas(plain), STROKES_CANVAS_SIDE)
    except (TypeError, ValueError, IndexError) as error:
        raise QueryError(f"strokes that can't be drawn: {error}", QUERY_IMAGE_HINT) from error


def _fit_strokes_to_canvas(strokes: list[list[list[float]]]) -> list[list[list[int | float]]]:
    """Strokes with coordinates in 0..255: as they are, or brought there where they are not, or all within 0..1."""
    places = np.concatenate([np.asarray(stroke, dtype=np.float64) for stroke in strokes], 1)
    if not np.isfinite(places).all():
        raise ValueError("a coordinate is not a number")
    low, high = places.min(), places.max()
    if low >= 0 and 1 < high < STROKES_CANVAS_SIDE:
        return strokes  # type: ignore[return-value]
    corner, side = places.min(1, keepdims=True), float(np.ptp(places, axis=1).max()) or 1.0
    return [
        ((np.asarray(stroke) - corner) * ((STROKES_CANVAS_SIDE - 1) / side)).tolist() for stroke in strokes
    ]
