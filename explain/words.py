"""The explanation in plain language: which place of the drawing met which place of the photo."""

from collections.abc import Iterable, Sequence

from ssl_sbir.explain.contrast import Contrast
from ssl_sbir.explain.explanation import Explanation
from ssl_sbir.explain.grids import Grid
from ssl_sbir.explain.methods import METHOD_NAMES

_ROWS = ("upper", "", "lower")
_COLUMNS = ("left", "", "right")


def place(row: int, column: int, height: int, width: int) -> str:
    """The name of a cell's third of the picture, e.g. `upper left` or `centre`."""
    across = _COLUMNS[_third(column, width)]
    down = _ROWS[_third(row, height)]
    if not down:
        return f"{across} side" if across else "centre"
    return f"{down} {across or 'middle'}"


def cell_name(row: int, column: int, height: int, width: int) -> str:
    """The name of one cell; where the centre holds several cells, which part of it."""
    name = place(row, column, height, width)
    if name != "centre":
        return name
    parts = (_side(row, height, "upper", "lower"), _side(column, width, "left", "right"))
    part = " ".join(word for word in parts if word)
    return f"centre, {part}" if part else name


def main_place(values: Grid) -> tuple[str, float, float]:
    """The place that adds most, its share of all that is added, and its share of the area (both 0..1)."""
    height, width = len(values), len(values[0])
    added: dict[str, float] = {}
    cells: dict[str, int] = {}
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            name = place(row, column, height, width)
            added[name] = added.get(name, 0.0) + max(value, 0.0)
            cells[name] = cells.get(name, 0) + 1
    best = max(added, key=lambda name: added[name])
    total = sum(added.values())
    return best, added[best] / total if total else 0.0, cells[best] / (height * width)


def verdict(explanations: Sequence[Explanation], average: float) -> str:
    """One or two sentences: what the best photo's score rests on, and how clear its lead is.

    Args:
        explanations: of the top results, best first.
        average: mean similarity of the drawing to the whole gallery.
    """
    if not explanations:
        return "Nothing came back: the gallery holds no photo."
    best = explanations[0]
    lead = f"The best match scores {best.score:.2f}; an average photo of this gallery scores {average:.2f}."
    return " ".join([lead, *_reasons(best)])


def contrast_words(one: Contrast) -> str:
    """Why the first photo of a contrast beat the other, in a sentence or two."""
    shape = len(one.drawing), len(one.drawing[0])
    if one.gap <= 0:
        return "By the drawing alone it would have come first."
    lead = f"It lost by {one.gap:.3f}, mainly at the {cell_name(*one.decisive, *shape)} of the drawing"
    if one.against is not None:
        lead += f"; it was ahead at the {cell_name(*one.against, *shape)}"
    change = one.winner.rank_without
    return (
        f"{lead}. Without its strongest region (the {cell_name(*one.winner.strongest, *one.winner.shape)}) the "
        f"first result would stand at place {change:,}."
    )


def _reasons(best: Explanation) -> Iterable[str]:
    if best.score <= 0:
        yield "A score of zero or less is no match: take the order below as chance."
    elif best.words is not None and best.words.words:
        word = max(best.words.words, key=lambda it: it.shapley)
        yield (
            f"The drawing alone gives {best.words.drawing:.2f}, the text adds {best.words.text:+.2f}, most of "
            f"it by “{word.text}” ({word.shapley:+.2f})."
        )
    shown = best.maps[0] if best.maps else None
    for what, values in (("drawing", shown and shown.sketch), ("photo", shown and shown.photo)):
        if best.score > 0 and shown and values:
            where, share, area = main_place(values)
            if share:
                yield (
                    f"By {METHOD_NAMES[shown.method]}, it rests mainly on the {where} of the {what} "
                    f"({share:.0%} of the heat on {area:.0%} of the area)."
                )


def _side(index: int, length: int, before: str, after: str) -> str:
    offset = (index + 0.5) / length - 0.5
    return "" if abs(offset) < 1e-9 else before if offset < 0 else after


def _third(index: int, length: int) -> int:
    return min(int((index + 0.5) / length * 3), 2)
