"""The pictures of a card: drawing and photo, their heat maps, and the links between matched regions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ssl_sbir.explain.contrast import Contrast
from ssl_sbir.explain.explanation import Explanation
from ssl_sbir.explain.grids import Cell, Grid
from ssl_sbir.explain.words import cell_name, place
from ssl_sbir.reports.images import Picture, contrast_map, heat_map, picture

SIDE = 320
HEAT_SIDE = 160
# The figure's own units: two squares of 100 with a gap for the links.
SQUARE, GAP = 100.0, 14.0
LINKS = 3


@dataclass(frozen=True)
class Heat:
    """One method's map over a picture; `alt` says where it is strongest."""

    method: str
    image: Picture
    alt: str


@dataclass(frozen=True)
class Frame:
    """One picture in the figure of a pair: as shown, and the heat maps over it."""

    image: Picture
    heats: tuple[Heat, ...]
    alt: str


@dataclass(frozen=True)
class Link:
    """A matched pair of regions (x, y, width, height in the figure's units); an average pair weighs 1."""

    number: int
    sketch: tuple[float, float, float, float]
    photo: tuple[float, float, float, float]
    weight: float
    words: str


def frame(image: Image.Image, maps: Sequence[tuple[str, Grid | None]], what: str) -> Frame:
    """A picture and its maps (method and values; a method without a map of this side has no layer)."""
    shown = picture(image, side=SIDE)
    size = _heat_size(shown)
    heats = tuple(
        Heat(method, picture(heat_map(np.clip(values, 0, 1), size)), _strongest(values))
        for method, values in maps
        if values is not None
    )
    return Frame(shown, heats, f"{what}; {heats[0].alt}" if heats else what)


def contrast_frame(image: Image.Image, one: Contrast) -> Frame:
    """The drawing with what favours the winner (blue) and the other (orange)."""
    shown = picture(image, side=SIDE)
    values = np.asarray(one.drawing)
    largest = np.abs(values).max() or 1.0
    shape = values.shape
    told = f"what favours the first result is strongest at the {cell_name(*one.decisive, *shape)}"
    layer = picture(contrast_map(values / largest, _heat_size(shown)))
    return Frame(shown, (Heat(one.method, layer, told),), f"The drawing; {told}")


def links(known: Explanation, sketch: tuple[int, int], photo: tuple[int, int]) -> list[Link]:
    """The strongest region pairs of a score above zero, as boxes over pictures of these sizes."""
    whole = known.parts.get("drawing", known.score)
    if known.regions is None or whole <= 0:
        return []
    ours, theirs = (_shape(values) for values in (known.regions.sketch, known.regions.photo))
    return [
        Link(
            number,
            _box(pair.sketch, ours, sketch, 0.0),
            _box(pair.photo, theirs, photo, SQUARE + GAP),
            pair.score * ours[0] * ours[1] * theirs[0] * theirs[1] / whole,
            f"{cell_name(*pair.sketch, *ours)} ↔ {cell_name(*pair.photo, *theirs)}",
        )
        for number, pair in enumerate(known.regions.strongest[:LINKS], 1)
    ]


def _heat_size(shown: Picture) -> tuple[int, int]:
    scale = HEAT_SIDE / max(shown.width, shown.height)
    return max(round(shown.width * scale), 1), max(round(shown.height * scale), 1)


def _strongest(values: Grid) -> str:
    array = np.asarray(values)
    if array.max() <= 0:
        return "the heat map is empty"
    row, column = np.unravel_index(array.argmax(), array.shape)
    return f"the heat map is strongest at the {place(int(row), int(column), *array.shape)}"


def _shape(values: Grid) -> tuple[int, int]:
    return len(values), len(values[0])


def _box(
    cell: Cell, grid: tuple[int, int], size: tuple[int, int], left: float
) -> tuple[float, float, float, float]:
    scale = SQUARE / max(size)
    width, height = size[0] * scale, size[1] * scale
    step_x, step_y = width / grid[1], height / grid[0]
    x = left + (SQUARE - width) / 2 + cell[1] * step_x
    y = (SQUARE - height) / 2 + cell[0] * step_y
    return round(x, 2), round(y, 2), round(step_x, 2), round(step_y, 2)
