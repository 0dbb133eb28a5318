"""The explanation in plain language: which place of the drawing met which place of the photo."""

from collections.abc import Iterable, Sequence

from ssl_sbir.explain.attribution.grids import Grid
from ssl_sbir.explain.attribution.method_names import METHOD_NAMES
from ssl_sbir.explain.pair.explanation import Explanation, HeatMaps
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.reports.render import format_decimals

_ROW_NAMES = ("upper", "", "lower")
_COLUMN_NAMES = ("left", "", "right")


def region_name(row: int, column: int, height: int, width: int) -> str:
    """The name of a cell's third of the picture, e.g. `upper left` or `centre`."""
    across = _COLUMN_NAMES[_third_index(column, width)]
    down = _ROW_NAMES[_third_index(row, height)]
    if not down:
        return f"{across} side" if across else "centre"
    return f"{down} {across or 'middle'}"


def cell_name(row: int, column: int, height: int, width: int) -> str:
    """The name of one cell; where the centre holds several cells, which part of it."""
    name = region_name(row, column, height, width)
    if name != "centre":
        return name
    parts = (_half_name(row, height, "upper", "lower"), _half_name(column, width, "left", "right"))
    part = " ".join(word for word in parts if word)
    return f"centre, {part}" if part else name


def strongest_region(values: Grid) -> tuple[str, float, float]:
    """The place that adds most, its share of all that is added, and its share of the area (both 0..1)."""
    height, width = len(values), len(values[0])
    added: dict[str, float] = {}
    cells: dict[str, int] = {}
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            name = region_name(row, column, height, width)
            added[name] = added.get(name, 0.0) + max(value, 0.0)
            cells[name] = cells.get(name, 0) + 1
    best = max(added, key=lambda name: added[name])
    total = sum(added.values())
    return best, added[best] / total if total else 0.0, cells[best] / (height * width)


def describe_best_match(explanations: Sequence[Explanation], average: float) -> str:
    """One or two sentences: what the best photo's score rests on, and how clear its lead is.

    Args:
        explanations: of the top results, best first.
        average: mean similarity of the drawing to the whole gallery.
    """
    if not explanations:
        return "Nothing came back: the gallery holds no photo."
    best = explanations[0]
    lead = (
        f"The best match scores {format_decimals(best.score, 2)}, where 1 would be perfect; an average photo of this gallery "
        f"scores {format_decimals(average, 2)}."
    )
    return " ".join([lead, *_best_match_reasons(best)])


def describe_contrast(contrast: PhotoContrast) -> str:
    """Why the first photo of a contrast beat the other, in a sentence or two."""
    shape = len(contrast.drawing), len(contrast.drawing[0])
    if contrast.gap <= 0:
        return "By the drawing alone it would have come first."
    lead = (
        f"It lost by {contrast.gap:.3f}, mainly at the {cell_name(*contrast.decisive, *shape)} of the drawing"
    )
    if contrast.against is not None:
        lead += f"; it was ahead at the {cell_name(*contrast.against, *shape)}"
    place_without = contrast.winner.rank_without
    after = "still stand first" if place_without == 1 else f"stand at place {place_without:,}"
    region = cell_name(*contrast.winner.strongest, *contrast.winner.shape)
    return f"{lead}. With its strongest region (the {region}) covered, the first result would {after}."


def _best_match_reasons(best: Explanation) -> Iterable[str]:
    if best.score <= 0:
        yield "A score of zero or less is no match: take the order below as chance."
    elif best.words is not None and best.words.words:
        word = max(best.words.words, key=lambda it: it.shapley)
        yield (
            f"The drawing alone gives {format_decimals(best.words.drawing, 2)}, the text adds "
            f"{format_decimals(best.words.text, 2)}; its strongest word is “{word.text}” ({format_decimals(word.shapley, 2)})."
        )
    if best.score > 0 and best.maps and (places := _hottest_regions(best.maps[0])):
        yield f"The {METHOD_NAMES[best.maps[0].method]} point mainly at {' and '.join(places)}."


def _hottest_regions(maps: HeatMaps) -> list[str]:
    found = [
        (what, *strongest_region(values))
        for what, values in (("drawing", maps.sketch), ("photo", maps.photo))
        if values is not None
    ]
    return [
        f"the {where} of the {what} ({share:.0%} of the heat on {area:.0%} of the area)"
        for what, where, share, area in found
        if share
    ]


def _half_name(index: int, length: int, before: str, after: str) -> str:
    offset = (index + 0.5) / length - 0.5
    return "" if abs(offset) < 1e-9 else before if offset < 0 else after


def _third_index(index: int, length: int) -> int:
    return min(int((index + 0.5) / length * 3), 2)
