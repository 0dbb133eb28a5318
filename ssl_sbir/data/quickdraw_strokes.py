"""Drawings stored as pen strokes (Google's simplified QuickDraw, one JSON per line), rasterised when opened."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.errors import DataError

STROKES_SUFFIX = ".ndjson"
STROKE_CANVAS_SIDE = 256  # coordinates are in 0..255
STROKE_MARGIN = 0.05
PEN_WIDTH_FRACTION = 3.5 / STROKE_CANVAS_SIDE  # of the side
SUPERSAMPLING = 4  # drawn this many times larger, then reduced: Pillow draws lines without antialiasing


@dataclass(frozen=True)
class StrokeSource:
    """Drawings by the key "cat.ndjson#<byte offset of the line>", and image files by path.

    Attributes:
        root: the folder that keys are relative to.
    """

    root: Path

    def open(self, key: str, size: int) -> Image.Image:
        """The drawing, `size` pixels square, black on white; or the file's image."""
        file, offset = _parse_stroke_key(key)
        if offset is None:
            return FileSource(self.root).open(key, size)
        with (self.root / file).open("rb") as lines:
            lines.seek(offset)
            return rasterize_strokes(_parse_stroke_line(lines.readline()), size)

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash of the files' names, sizes and modification times."""
        return FileSource(self.root).fingerprint(
            file for file, _ in groupby(_parse_stroke_key(key)[0] for key in keys)
        )

    def path(self, key: str) -> Path | None:
        """The file that holds the drawing."""
        return self.root / _parse_stroke_key(key)[0]


def rasterize_strokes(strokes: list[list[list[int | float]]], size: int) -> Image.Image:
    """A grey image [size, size] of some strokes.

    Args:
        strokes: [xs, ys] of each, coordinates in 0..255.
        size: side in pixels.
    """
    side = size * SUPERSAMPLING
    scale = side * (1 - 2 * STROKE_MARGIN) / (STROKE_CANVAS_SIDE - 1)
    image = Image.new("L", (side, side), 255)
    pen, brush = max(SUPERSAMPLING, round(side * PEN_WIDTH_FRACTION)), ImageDraw.Draw(image)
    for xs, ys, *_ in strokes:
        points = [
            (side * STROKE_MARGIN + x * scale, side * STROKE_MARGIN + y * scale)
            for x, y in zip(xs, ys, strict=True)
        ]
        brush.line(points, fill=0, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=0)
    return image.reduce(SUPERSAMPLING)


def _parse_stroke_key(key: str) -> tuple[str, int | None]:
    file, mark, offset = key.rpartition(f"{STROKES_SUFFIX}#")
    return (file + STROKES_SUFFIX, int(offset)) if mark and offset.isdigit() else (key, None)


def _parse_stroke_line(line: bytes) -> list[list[list[int | float]]]:
    try:
        facts: Any = json.loads(line)
        strokes: list[list[list[int | float]]] = facts["drawing"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError('not a line {"word": …, "drawing": …}', "Download the file again.") from error
    if not strokes or not all(len(it) >= 2 and len(it[0]) == len(it[1]) > 0 for it in strokes):
        raise DataError("a drawing without strokes", "Remove the line.")
    return strokes
