"""The explanation page: one self-contained HTML file drawn from facts and the pictures they speak of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_sbir.explain.explanation import Cell, ExplainedQuery, Explanation, Grid, Result
from ssl_sbir.explain.words import cell_name, place
from ssl_sbir.reports.images import Picture, heat_map, picture
from ssl_sbir.reports.render import render

SIDE = 320
HEAT_SIDE = 160
# The figure's own units: two squares of 100 with a gap for the links.
SQUARE, GAP = 100.0, 14.0
LINKS = 3


@dataclass(frozen=True)
class Frame:
    """One picture in the figure of a pair: as shown, and its heat map over it."""

    image: Picture
    heat: Picture | None
    alt: str


@dataclass(frozen=True)
class Link:
    """A matched pair of regions (x, y, width, height in the figure's units); an average pair weighs 1."""

    number: int
    sketch: tuple[float, float, float, float]
    photo: tuple[float, float, float, float]
    weight: float
    words: str


def explanation_page(
    query: ExplainedQuery,
    drawing: Image.Image,
    photos: Sequence[Image.Image | None],
    templates: Path | None = None,
) -> str:
    """The HTML of a query's page.

    Args:
        query: the facts.
        drawing: the query as a picture.
        photos: one a result, None where the file can't be read; the page says so.
        templates: the user's own folder of templates.
    """
    pairs = zip(query.results, photos, strict=True)
    facts: dict[str, Any] = {
        "query": query,
        "drawing": picture(drawing, side=SIDE),
        "cards": [_card(result, drawing, photo) for result, photo in pairs],
        "largest_error": _largest_error(query),
        "agreeing": _agreeing(query),
    }
    return render("explanation.html.j2", facts, templates)


def _largest_error(query: ExplainedQuery) -> str | None:
    regions = [result.explanation.regions for result in query.results]
    errors = [abs(part.delta) for part in regions if part is not None]
    return f"{max(errors):.8f}" if errors else None


def _agreeing(query: ExplainedQuery) -> int | None:
    known = [result.same_class for result in query.results if result.same_class is not None]
    return sum(known) if known else None


def _card(result: Result, drawing: Image.Image, photo: Image.Image | None) -> dict[str, Any]:
    known = result.explanation
    shown = photo or Image.new("RGB", drawing.size, "white")
    maps = known.maps[0] if known.maps else None
    return {
        "result": result,
        "missing": photo is None,
        "sketch": _frame(drawing, maps.sketch if maps else None, "The drawing"),
        "photo": _frame(shown, maps.photo if maps else None, f"Result {result.rank}"),
        "links": _links(known, drawing.size, shown.size),
    }


def _frame(image: Image.Image, values: Grid | None, what: str) -> Frame:
    shown = picture(image, side=SIDE)
    if values is None:
        return Frame(shown, None, what)
    scale = HEAT_SIDE / max(shown.width, shown.height)
    size = (max(round(shown.width * scale), 1), max(round(shown.height * scale), 1))
    return Frame(shown, picture(heat_map(np.clip(values, 0, 1), size)), f"{what}; {_strongest(values)}")


def _strongest(values: Grid) -> str:
    array = np.asarray(values)
    if array.max() <= 0:
        return "the heat map is empty"
    row, column = np.unravel_index(array.argmax(), array.shape)
    return f"the heat map is strongest at the {place(int(row), int(column), *array.shape)}"


def _links(known: Explanation, sketch: tuple[int, int], photo: tuple[int, int]) -> list[Link]:
    if known.regions is None or known.score <= 0:
        return []
    ours, theirs = (_shape(values) for values in (known.regions.sketch, known.regions.photo))
    return [
        Link(
            number,
            _box(pair.sketch, ours, sketch, 0.0),
            _box(pair.photo, theirs, photo, SQUARE + GAP),
            pair.score * ours[0] * ours[1] * theirs[0] * theirs[1] / known.score,
            f"{cell_name(*pair.sketch, *ours)} ↔ {cell_name(*pair.photo, *theirs)}",
        )
        for number, pair in enumerate(known.regions.strongest[:LINKS], 1)
    ]


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
