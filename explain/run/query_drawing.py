"""The query drawing: an image file, or a sketch of the data by its key or row number."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.decode_image import decode_image
from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.data.manifest import Domain, ImageSource, Manifest
from ssl_sbir.data.sketch_warnings import blank_tone, sketch_warnings
from ssl_sbir.errors import ExplainError
from ssl_sbir.files import is_file


@dataclass(frozen=True)
class QueryDrawing:
    """One query drawing.

    Attributes:
        id: the file's name, or the sketch's key.
        label: its class; None if unknown.
    """

    source: ImageSource
    key: str
    id: str
    label: str | None

    def decode_pixels(self, size: int, fit: str) -> npt.NDArray[np.uint8]:
        """The drawing as the encoder sees it, uint8 [size, size, 3].

        Raises:
            DataError: it can't be read.
        """
        return decode_image(self.source, self.key, size, fit)


def find_drawing(query: str, manifest: Manifest) -> QueryDrawing:
    """The drawing that a query refers to.

    Args:
        query: a file; or a sketch of the manifest by key, by the end of its key, or by row number.

    Raises:
        ExplainError: there is neither such a file nor such a sketch, or several sketches match.
    """
    path = Path(query)
    if is_file(path):
        return QueryDrawing(FileSource(path.absolute().parent), path.name, printable_name(path.name), None)
    row = _find_sketch_row(query, manifest)
    label = int(manifest.label[row])
    key = manifest.keys[row]
    return QueryDrawing(
        manifest.source, key, printable_name(key), manifest.classes[label] if label >= 0 else None
    )


def find_query_rows(queries: Sequence[str], manifest: Manifest) -> list[int]:
    """The manifest rows of the sketches that these queries refer to, by key, by row number or by file."""
    rows = []
    for query in queries:
        if is_file(Path(query)):
            rows += _find_file_rows(Path(query), manifest)
        else:
            with suppress(ExplainError):  # raised again when the query is explained
                rows.append(_find_sketch_row(query, manifest))
    return rows


def describe_drawing_doubts(pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """Warnings about a doubtful query drawing: no lines, light lines on dark, or the look of a photo."""
    tone = blank_tone(pixels)
    if tone:
        return (f"The drawing is {tone}, so the order below is not about a shape.",)
    return tuple(sketch_warnings(pixels))


def page_image(source: ImageSource, key: str, size: int, fit: str) -> Image.Image:
    """The image for a page: in its original proportions if the encoder squashes images, else as the encoder sees it."""
    square = Image.fromarray(decode_image(source, key, size, fit))
    if fit != "squash":
        return square
    with source.open(key, size) as image:
        width, height = ImageOps.exif_transpose(image).size
    scale = size / max(width, height)
    return square.resize(
        (max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.BICUBIC
    )


def find_one_key(wanted: str, keys: Sequence[str], what: str) -> int:
    """The index of the one key that equals `wanted` or ends in it.

    Args:
        wanted: a key, or its end after a `/`.
        keys: to search.
        what: the keys refer to, for messages.

    Raises:
        ExplainError: no key matches, or several do.
    """
    matches = [index for index, key in enumerate(keys) if key == wanted]
    matches = matches or [index for index, key in enumerate(keys) if key.endswith(f"/{wanted}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        examples = ", ".join(printable_name(keys[index]) for index in matches[:3])
        plural = "sketches" if what == "sketch" else f"{what}s"
        raise ExplainError(
            f"{len(matches)} {plural} end in {wanted!r}: {examples} …", "Give more of the key."
        )
    near = get_close_matches(wanted, keys[:20_000], 1) or keys[:1]
    example = f", for example {printable_name(near[0])}" if near else ""
    raise ExplainError(f"no {what} {wanted!r}", f"Give the key of a {what} in the data{example}.")


def _find_file_rows(file: Path, manifest: Manifest) -> list[int]:
    sketches = manifest.find_rows(Domain.SKETCH)
    named = [
        (int(row), manifest.source.path(key))
        for row, key in zip(sketches, manifest.keys.take_rows(sketches), strict=True)
        if key.endswith(file.name)
    ]
    return [row for row, path in named if path is not None and path.is_file() and path.samefile(file)]


def _find_sketch_row(query: str, manifest: Manifest) -> int:
    if query.isdecimal() and int(query) < len(manifest):
        row = int(query)
        if manifest.domain[row] == Domain.SKETCH:
            return row
        raise ExplainError(f"row {row} of {manifest.name} is a photo", "Give the row of a drawing.")
    sketches = manifest.find_rows(Domain.SKETCH)
    try:
        return int(sketches[find_one_key(query, list(manifest.keys.take_rows(sketches)), "sketch")])
    except ExplainError as error:
        if error.message.startswith("no sketch"):
            message = f"no drawing {query!r}: neither a file nor a sketch of {manifest.name}"
            raise ExplainError(message, error.hint.replace("Give", "Give an image file, or", 1)) from None
        raise
