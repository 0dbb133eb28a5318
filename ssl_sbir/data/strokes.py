"""Drawings kept as pen strokes (Google's simplified QuickDraw, one JSON a line), drawn when opened."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ssl_sbir.data.trees import FileSource
from ssl_sbir.errors import DataError

SUFFIX = ".ndjson"
CANVAS = 256  # strokes lie in 0..255
MARGIN = 0.05
PEN = 3.5 / CANVAS  # of the side
FINER = 4  # drawn so many times larger and reduced, since Pillow draws lines without antialiasing


@dataclass(frozen=True)
class StrokeSource:
    """Drawings by "cat.ndjson#<byte offset of the line>", and image files by path.

    Attributes:
        root: the folder that keys are relative to.
    """

    root: Path

    def open(self, key: str, size: int) -> Image.Image:
        """The drawing, `size` pixels square, black on white; or the file's image."""
        file, offset = _line(key)
        if offset is None:
            return FileSource(self.root).open(key, size)
        with (self.root / file).open("rb") as lines:
            lines.seek(offset)
            return drawn(_strokes(lines.readline()), size)

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash of the files' names, sizes and times of change."""
        return FileSource(self.root).fingerprint(file for file, _ in groupby(_line(key)[0] for key in keys))

    def path(self, key: str) -> Path | None:
        """The file that holds the drawing."""
        return self.root / _line(key)[0]


def drawn(strokes: list[list[list[int | float]]], size: int) -> Image.Image:
    """A grey image [size, size] of some strokes.

    Args:
        strokes: [xs, ys] each, coordinates in 0..255.
        size: side in pixels.
    """
    side = size * FINER
    scale = side * (1 - 2 * MARGIN) / (CANVAS - 1)
    image = Image.new("L", (side, side), 255)
    pen, brush = max(FINER, round(side * PEN)), ImageDraw.Draw(image)
    for xs, ys, *_ in strokes:
        points = [(side * MARGIN + x * scale, side * MARGIN + y * scale) for x, y in zip(xs, ys, strict=True)]
        brush.line(points, fill=0, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=0)
    return image.reduce(FINER)


def _line(key: str) -> tuple[str, int | None]:
    file, mark, offset = key.rpartition(f"{SUFFIX}#")
    return (file + SUFFIX, int(offset)) if mark and offset.isdigit() else (key, None)


def _strokes(line: bytes) -> list[list[list[int | float]]]:
    try:
        facts: Any = json.loads(line)
        strokes: list[list[list[int | float]]] = facts["drawing"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError('not a line {"word": …, "drawing": …}', "Download the file again.") from error
    if not strokes or not all(len(it) >= 2 and len(it[0]) == len(it[1]) > 0 for it in strokes):
        raise DataError("a drawing without strokes", "Remove the line.")
    return strokes
