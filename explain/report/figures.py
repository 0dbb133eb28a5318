"""The figures of a result's card: drawing and photo, their heat maps, and links between matched regions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ssl_sbir.explain.attribution.grids import Grid, GridCell
from ssl_sbir.explain.pair.explanation import Explanation
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.report.plain_words import cell_name, region_name
from ssl_sbir.reports.page_images import PageImage, contrast_map, heat_map, to_page_image

FIGURE_SIDE = 320
HEAT_SIDE = 160
# In the figure's own units: two squares with a gap between them that the links cross.
FIGURE_SQUARE, FIGURE_GAP = 100.0, 14.0
MAX_LINKS = 3


@dataclass(frozen=True)
class HeatLayer:
    """One method's map over an image; `alt` says where it is strongest."""

    method: str
    image: PageImage
    alt: str


@dataclass(frozen=True)
class PictureFrame:
    """One image of a pair's figure with the heat maps over it."""

    image: PageImage
    heats: tuple[HeatLayer, ...]
    alt: str


@dataclass(frozen=True)
class RegionLink:
    """A matched pair of regions, each (x, y, width, height) in the figure's units; an average pair has weight 1."""

    number: int
    sketch: tuple[float, float, float, float]
    photo: tuple[float, float, float, float]
    weight: float
    words: str


def picture_frame(image: Image.Image, maps: Sequence[tuple[str, Grid | None]], what: str) -> PictureFrame:
    """An image and its maps, given as (method, values); values of None make no layer."""
    shown = to_page_image(image, side=FIGURE_SIDE)
    size = _heat_size(shown)
    heats = tuple(
        HeatLayer(method, to_page_image(heat_map(np.clip(values, 0, 1), size)), _describe_strongest(values))
        for method, values in maps
        if values is not None
    )
    return PictureFrame(shown, heats, f"{what}; {heats[0].alt}" if heats else what)


def contrast_frame(image: Image.Image, contrast: PhotoContrast) -> PictureFrame:
    """The drawing with the regions that favour the winner (blue) and the other photo (orange)."""
    shown = to_page_image(image, side=FIGURE_SIDE)
    values = np.asarray(contrast.drawing)
    largest = np.abs(values).max() or 1.0
    shape = values.shape
    alt = f"the first result is favoured most at the {cell_name(*contrast.decisive, *shape)}"
    layer = to_page_image(contrast_map(values / largest, _heat_size(shown)))
    return PictureFrame(shown, (HeatLayer(contrast.method, layer, alt),), f"The drawing; {alt}")


def region_links(
    explanation: Explanation, sketch: tuple[int, int], photo: tuple[int, int]
) -> list[RegionLink]:
    """The strongest region pairs of a score above zero, as boxes over images of these sizes (width, height)."""
    sketch_score = explanation.parts.get("drawing", explanation.score)
    if explanation.regions is None or sketch_score <= 0:
        return []
    ours, theirs = (_grid_shape(values) for values in (explanation.regions.sketch, explanation.regions.photo))
    return [
        RegionLink(
            number,
            _cell_box(pair.sketch, ours, sketch, 0.0),
            _cell_box(pair.photo, theirs, photo, FIGURE_SQUARE + FIGURE_GAP),
            pair.score * ours[0] * ours[1] * theirs[0] * theirs[1] / sketch_score,
            f"{cell_name(*pair.sketch, *ours)} ↔ {cell_name(*pair.photo, *theirs)}",
        )
        for number, pair in enumerate(explanation.regions.strongest[:MAX_LINKS], 1)
    ]


def _heat_size(shown: PageImage) -> tuple[int, int]:
    scale = HEAT_SIDE / max(shown.width, shown.height)
    return max(round(shown.width * scale), 1), max(round(shown.height * scale), 1)


def _describe_strongest(values: Grid) -> str:
    array = np.asarray(values)
    if array.max() <= 0:
        return "the heat map is empty"
    row, column = np.unravel_index(array.argmax(), array.shape)
    return f"the heat map is strongest at the {region_name(int(row), int(column), *array.shape)}"


def _grid_shape(values: Grid) -> tuple[int, int]:
    return len(values), len(values[0])


def _cell_box(
    cell: GridCell, grid: tuple[int, int], size: tuple[int, int], left: float
) -> tuple[float, float, float, float]:
    scale = FIGURE_SQUARE / max(size)
    width, height = size[0] * scale, size[1] * scale
    step_x, step_y = width / grid[1], height / grid[0]
    x = left + (FIGURE_SQUARE - width) / 2 + cell[1] * step_x
    y = (FIGURE_SQUARE - height) / 2 + cell[0] * step_y
    return round(x, 2), round(y, 2), round(step_x, 2), round(step_y, 2)
