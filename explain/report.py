"""The explanation page: one self-contained HTML file drawn from facts and the pictures they speak of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ssl_sbir.explain.concepts import Concepts
from ssl_sbir.explain.contrast import Contrast
from ssl_sbir.explain.explanation import ExplainedQuery, Explanation, Result
from ssl_sbir.explain.faithfulness import Check
from ssl_sbir.explain.figures import SIDE, contrast_frame, frame, links
from ssl_sbir.explain.methods import METHOD_MEANINGS, METHOD_NAMES
from ssl_sbir.explain.query_words import WordWeights
from ssl_sbir.reports.charts import path_graph, signed_strip, two_curves
from ssl_sbir.reports.images import picture
from ssl_sbir.reports.render import render

THUMB = 180
Photo = Image.Image | None


def explanation_page(
    query: ExplainedQuery,
    drawing: Image.Image,
    photos: Sequence[Photo],
    templates: Path | None = None,
    *,
    beaten: Sequence[Photo] = (),
) -> str:
    """The HTML of a query's page.

    Args:
        query: the facts.
        drawing: the query as a picture.
        photos: one a result, None where the file can't be read; the page says so.
        templates: the user's own folder of templates.
        beaten: one a contrast: the photo that lost.
    """
    cards = [_card(result, drawing, photo) for result, photo in zip(query.results, photos, strict=True)]
    lost = [_lost(one, drawing, photo) for one, photo in zip(query.contrasts, beaten, strict=True)]
    methods = dict.fromkeys(seen.method for result in query.results for seen in result.explanation.maps)
    facts: dict[str, Any] = {
        "query": query,
        "drawing": picture(drawing, side=SIDE),
        "cards": cards,
        "lost": lost,
        "winner": _thumb(photos[0]) if photos else None,
        "methods": {name: (METHOD_NAMES[name], METHOD_MEANINGS[name]) for name in methods},
        "on_drawing": any(seen.sketch for result in query.results for seen in result.explanation.maps),
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


def _thumb(photo: Photo) -> Any:
    return None if photo is None else picture(photo, side=THUMB)


def _card(result: Result, drawing: Image.Image, photo: Photo) -> dict[str, Any]:
    known = result.explanation
    shown = photo or Image.new("RGB", drawing.size, "white")
    ours = [(seen.method, seen.sketch) for seen in known.maps]
    theirs = [(seen.method, seen.photo) for seen in known.maps]
    return {
        "result": result,
        "missing": photo is None,
        "sketch": frame(drawing, ours, "The drawing"),
        "photo": frame(shown, theirs, f"Result {result.rank}"),
        "links": links(known, drawing.size, shown.size),
        "tests": [_test(check) for check in known.checks],
        "words": _words(known.words),
        "ideas": _ideas(known.concepts),
        "errors": _errors(known),
    }


def _errors(known: Explanation) -> list[tuple[str, float]]:
    sides = [("drawing", "sketch_error"), ("photo", "photo_error")]
    found = [(what, getattr(seen, name)) for seen in known.maps for what, name in sides]
    return [(what, error) for what, error in found if error is not None]


def _test(check: Check) -> dict[str, Any]:
    return {
        "check": check,
        "name": METHOD_NAMES[check.method],
        "chart": two_curves(check.deletion, check.insertion),
    }


def _words(weights: WordWeights | None) -> list[dict[str, Any]]:
    if weights is None:
        return []
    most = max((abs(one.shapley) for one in weights.words), default=0.0)
    return [{"weight": one, "bar": signed_strip(one.shapley, most)} for one in weights.words]


def _ideas(concepts: Concepts | None) -> dict[str, Any] | None:
    if concepts is None:
        return None
    steps = concepts.path
    nodes = [concepts.start, *(step.node for step in steps)]
    relations = [(step.relation, step.forward) for step in steps]
    told = concepts.words or " to ".join(nodes)
    return {"facts": concepts, "graph": path_graph(nodes, relations, told) if steps else None}


def _lost(one: Contrast, drawing: Image.Image, photo: Photo) -> dict[str, Any]:
    return {"contrast": one, "drawing": contrast_frame(drawing, one), "photo": _thumb(photo)}
