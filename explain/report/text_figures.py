"""A page's figures about a query's text: bars of words and classes, and the parts of a photo that answer it."""

from typing import Any

from PIL import Image

from ssl_sbir.explain.attribution.grids import Grid
from ssl_sbir.explain.report.figures import picture_frame
from ssl_sbir.explain.text.text_answer import TextAnswer, TextMap
from ssl_sbir.explain.text.text_reading import TextReading
from ssl_sbir.explain.text.word_contributions import WordWeights
from ssl_sbir.reports.svg_charts import StripValue, signed_strip, strip_chart

TEXT_LAYER = "text"
EMPTY_TEXT_MAP_PEAK = 1e-6
SHOWN_CLASSES = 10


def word_bars(weights: WordWeights | None) -> list[dict[str, Any]]:
    """Each word's weight with a bar, all on one scale."""
    if weights is None:
        return []
    most = max((abs(one.shapley) for one in weights.words), default=0.0)
    return [{"weight": one, "bar": signed_strip(one.shapley, most)} for one in weights.words]


def reading_bars(reading: TextReading | None) -> dict[str, Any] | None:
    """What a text means, with a bar for each of its first classes and for each of the drawing's, on a scale up to 1."""
    if reading is None:
        return None
    shown, more = reading.classes[:SHOWN_CLASSES], reading.classes[SHOWN_CLASSES:]
    return {
        "facts": reading,
        "classes": [{"one": one, "bar": strip_chart(StripValue(one.weight))} for one in shown],
        "more": len(more),
        "more_weight": sum(one.weight for one in more),
        "drawing": [{"one": one, "bar": strip_chart(StripValue(one.score))} for one in reading.drawing],
    }


def answer_figures(answer: TextAnswer | None, photo: Image.Image, what: str) -> dict[str, Any] | None:
    """A photo with the regions that answer the text, and a bar for what each class adds.

    Args:
        answer: the facts; None without a text that is understood.
        photo: the photo.
        what: what the photo is, for its alternative text.
    """
    if answer is None:
        return None
    frame = picture_frame(photo, [(TEXT_LAYER, _scale_map(answer.map))], what)
    if answer.classes is None:
        return {"facts": answer, "frame": frame, "classes": [], "rest": None}
    values = [*(one.value for one in answer.classes.largest), answer.classes.rest]
    most = max(abs(value) for value in values)
    *bars, rest = [signed_strip(value, most) for value in values]
    rows = [{"one": one, "bar": bar} for one, bar in zip(answer.classes.largest, bars, strict=True)]
    return {"facts": answer, "frame": frame, "classes": rows, "rest": rest}


def _scale_map(text_map: TextMap) -> Grid:
    peak = max(map(max, text_map.photo))
    factor = 1 / peak if peak > EMPTY_TEXT_MAP_PEAK else 0.0
    return tuple(tuple(factor * value for value in row) for row in text_map.photo)
