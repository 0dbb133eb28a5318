"""The sentences of an explanation, and the names of image regions."""

from collections.abc import Iterable, Sequence

from ssl_sbir.explain.attribution.grids import Grid
from ssl_sbir.explain.attribution.method_names import METHOD_NAMES
from ssl_sbir.explain.pair.explanation import Explanation, HeatMaps
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.text.text_answer import TextAnswer
from ssl_sbir.explain.text.word_contributions import WordWeights
from ssl_sbir.reports.render import format_decimals

_ROW_NAMES = ("upper", "", "lower")
_COLUMN_NAMES = ("left", "", "right")


def region_name(row: int, column: int, height: int, width: int) -> str:
    """The name of the ninth of the image that holds a cell, e.g. `upper left` or `centre`."""
    across = _COLUMN_NAMES[_third_index(column, width)]
    down = _ROW_NAMES[_third_index(row, height)]
    if not down:
        return f"{across} side" if across else "centre"
    return f"{down} {across or 'middle'}"


def cell_name(row: int, column: int, height: int, width: int) -> str:
    """The name of one cell; if the centre holds several cells, with the part of it."""
    name = region_name(row, column, height, width)
    if name != "centre":
        return name
    parts = (_half_name(row, height, "upper", "lower"), _half_name(column, width, "left", "right"))
    part = " ".join(word for word in parts if word)
    return f"centre, {part}" if part else name


def strongest_region(values: Grid) -> tuple[str, float, float]:
    """The region with the largest positive sum, its share of all positive values, and its share of the area (0..1)."""
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
    """One or two sentences: how clear the best photo's lead is, and what its score depends on.

    Args:
        explanations: of the top results, best first.
        average: mean similarity of the query to all photos of the gallery.
    """
    if not explanations:
        return "No results: the gallery holds no photo."
    best = explanations[0]
    lead = (
        f"The best match scores {format_decimals(best.score, 2)} of at most 1; an average photo of this gallery "
        f"scores {format_decimals(average, 2)}."
    )
    return " ".join([lead, *_best_match_reasons(best)])


def describe_contrast(contrast: PhotoContrast) -> str:
    """Why the first result beat the other photo, in a sentence or two."""
    shape = len(contrast.drawing), len(contrast.drawing[0])
    if contrast.gap <= 0:
        return "By the drawing alone it would be ranked first."
    lead = (
        f"It lost by {contrast.gap:.3f}, mainly at the {cell_name(*contrast.decisive, *shape)} of the drawing"
    )
    if contrast.against is not None:
        lead += f"; it was ahead at the {cell_name(*contrast.against, *shape)}"
    rank = contrast.winner.rank_without
    after = "still be first" if rank == 1 else f"drop to rank {rank:,}"
    region = cell_name(*contrast.winner.strongest, *contrast.winner.shape)
    return f"{lead}. With its strongest region (the {region}) covered, the first result would {after}."


def _best_match_reasons(best: Explanation) -> Iterable[str]:
    if best.score <= 0:
        yield "A score of zero or less is no match: the order below is no better than chance."
    elif best.words is not None and best.words.words:
        yield _describe_words(best.words, beside_drawing="drawing" in best.parts)
        yield from _describe_strongest_class(best.answer)
    if best.score > 0 and best.maps and (regions := _hottest_regions(best.maps[0])):
        yield f"The {METHOD_NAMES[best.maps[0].method]} are strongest at {' and '.join(regions)}."


def _describe_words(words: WordWeights, *, beside_drawing: bool) -> str:
    word = max(words.words, key=lambda it: it.shapley)
    strongest = f"strongest word is “{word.text}” ({format_decimals(word.shapley, 2)})."
    if not beside_drawing:
        return f"The text's {strongest}"
    return (
        f"The drawing alone scores {format_decimals(words.drawing, 2)}, and the text adds "
        f"{format_decimals(words.text, 2)}; its {strongest}"
    )


def _describe_strongest_class(answer: TextAnswer | None) -> Iterable[str]:
    classes = answer.classes.largest if answer is not None and answer.classes is not None else ()
    meant = [one for one in classes if one.weight > 0 and one.value > 0]
    if meant:
        most = max(meant, key=lambda it: it.value)
        yield f"Of the classes that the text means, “{most.name}” adds most ({format_decimals(most.value, 2)})."


def _hottest_regions(maps: HeatMaps) -> list[str]:
    strongest = [
        (side, *strongest_region(values))
        for side, values in (("drawing", maps.sketch), ("photo", maps.photo))
        if values is not None
    ]
    return [
        f"the {region} of the {side} ({share:.0%} of the heat on {area:.0%} of the area)"
        for side, region, share, area in strongest
        if share
    ]


def _half_name(index: int, length: int, before: str, after: str) -> str:
    offset = (index + 0.5) / length - 0.5
    return "" if abs(offset) < 1e-9 else before if offset < 0 else after


def _third_index(index: int, length: int) -> int:
    return min(int((index + 0.5) / length * 3), 2)
