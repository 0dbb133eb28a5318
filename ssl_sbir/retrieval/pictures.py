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

from ssl_sbir.data.images import decode
from ssl_sbir.data.names import printable
from ssl_sbir.data.strokes import drawn
from ssl_sbir.errors import DataError, QueryError

CANVAS, LARGEST = 256, 5_000_000  # side of drawn strokes; bytes of an SVG file
INK = 24  # of 255: what differs from the paper by less is no ink
MIDDLE = (
    0.2  # of 313 human sketches 1 has more pixels that are neither paper nor ink; of 313 photos 4 in 5 do
)
HINT = "Give a file, a PIL image, an array [h, w] or [h, w, 3], an SVG file, or strokes [[xs, ys], …]."


@dataclass(frozen=True)
class Picture:
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

    def pixels(self, size: int, fit: str) -> npt.NDArray[np.uint8]:
        """The picture as an encoder takes it, [size, size, 3].

        Raises:
            QueryError: it can't be read; says why.
        """
        try:
            return decode(self, self.name, size, fit)
        except DataError as error:
            raise QueryError(error.message, HINT) from error


def picture(given: Any, what: str) -> Picture:
    """The picture that was given.

    Args:
        given: a path, a PIL image, an array or tensor [h, w], [h, w, 3 or 4] or [3, h, w] (uint8, or floats in 0..1),
            the path or the text of an SVG drawing, or strokes [[xs, ys], …] with coordinates in 0..255.
        what: "sketch" or "photo", for messages.

    Raises:
        QueryError: it is none of these, or the file isn't there.
    """
    if isinstance(given, Picture):
        return given
    if isinstance(given, str | Path):
        return _from_text(given, what)
    if isinstance(given, Image.Image):
        return Picture(what, given)
    if isinstance(given, np.ndarray | torch.Tensor):
        return Picture(what, _from_array(np.asarray(given), what))
    if is_strokes(given):
        return Picture("strokes", _from_strokes(given))
    raise QueryError(f"a {what} of type {type(given).__name__}", HINT)


def is_strokes(given: Any) -> bool:
    """Whether a value is a drawing's strokes, as QuickDraw has them, and not a list of pictures."""
    if isinstance(given, dict):
        return "drawing" in given
    try:
        if not isinstance(given[0], list | tuple):
            return False
        xs, ys = given[0][:2]
        return all(isinstance(value, int | float | np.number) for value in (xs[0], ys[0]))
    except (TypeError, IndexError, ValueError, KeyError):
        return False


def doubts(pixels: npt.NDArray[np.uint8]) -> list[str]:
    """What makes a drawing doubtful as a query, a sentence each.

    Raises:
        QueryError: it is blank, or black all over.
    """
    grey = pixels.astype(np.int16).mean(2)
    if np.ptp(grey) < INK:
        tone = "black all over" if grey.mean() < 128 else "blank"
        raise QueryError(f"the drawing is {tone}: there is nothing to search for", "Draw something.")
    if np.median(grey) < 128 and not _like_a_photo(grey):
        return ["The drawing is light on dark; encoders expect dark lines on white paper."]
    if _like_a_photo(grey):
        return ["The sketch looks like a photo; give it as photo (--photo) to find its like."]
    return []


def _like_a_photo(grey: npt.NDArray[np.floating]) -> bool:
    """Whether too many pixels are neither paper (the commonest tone) nor dark ink."""
    tones = np.bincount((grey.astype(int) // 16).ravel(), minlength=16)
    paper = int(tones.argmax()) * 16 + 8
    ink = grey.min() if paper > 128 else grey.max()
    return float(((np.abs(grey - paper) > 40) & (np.abs(grey - ink) > 40)).mean()) > MIDDLE


def _from_text(given: str | Path, what: str) -> Picture:
    if isinstance(given, str) and given.lstrip().startswith(("<svg", "<?xml")):
        return Picture("drawing.svg", _from_svg(given))
    path = Path(given)
    try:
        there = path.is_file()
    except (OSError, ValueError):  # no file has such a name
        there = False
    if not there:
        raise QueryError(f"{what} {printable(str(given))[:200]!r}: no such file", HINT)
    name = printable(path.name)
    if path.suffix.lower() == ".svg":
        if path.stat().st_size > LARGEST:
            raise QueryError(f"{name}: an SVG file of more than {LARGEST:,} bytes", "Simplify it.")
        return Picture(name, _from_svg(path.read_text("utf-8", "replace")), path)
    return Picture(name, None, path)


def _from_svg(text: str) -> Image.Image:
    try:
        import resvg_py
    except ImportError as error:
        raise QueryError("an SVG drawing needs resvg-py", "pip install resvg-py") from error
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=text, width=CANVAS, height=CANVAS, background="#ffffff", skip_system_fonts=True
        )
    except (ValueError, RuntimeError) as error:
        raise QueryError(f"the SVG drawing can't be read: {error}", HINT) from error
    return Image.open(io.BytesIO(bytes(png)))


def _from_array(array: npt.NDArray[Any], what: str) -> Image.Image:
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise QueryError(f"a {what} of shape {list(array.shape)}", HINT)
    if array.dtype != np.uint8:
        whole = np.nan_to_num(array.astype(np.float64))
        array = (np.clip(whole if whole.max() > 1 else whole * 255, 0, 255)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _from_strokes(given: Any) -> Image.Image:
    strokes = given["drawing"] if isinstance(given, dict) else given
    try:
        plain = [[[float(v) for v in line] for line in stroke[:2]] for stroke in strokes]
        return drawn(plain, CANVAS)  # type: ignore[arg-type]
    except (TypeError, ValueError, IndexError) as error:
        raise QueryError(f"strokes that can't be drawn: {error}", HINT) from error
