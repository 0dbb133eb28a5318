"""The explanation page: one self-contained HTML file made from facts and images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ssl_sbir.explain.attribution.method_names import METHOD_MEANINGS, METHOD_NAMES
from ssl_sbir.explain.faithfulness.faithfulness_tests import FaithfulnessCheck
from ssl_sbir.explain.pair.explanation import ExplainedQuery, ExplainedResult, Explanation
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.report.figures import FIGURE_SIDE, contrast_frame, picture_frame, region_links
from ssl_sbir.explain.report.text_figures import answer_figures, reading_bars, word_bars
from ssl_sbir.explain.text.nearest_concepts import PairConcepts
from ssl_sbir.reports.page_images import to_page_image
from ssl_sbir.reports.render import render_template
from ssl_sbir.reports.svg_charts import path_graph, two_curves

CARD_THUMB_SIDE = 180
PhotoImage = Image.Image | None


def explanation_page(
    query: ExplainedQuery,
    drawing: Image.Image | None,
    photos: Sequence[PhotoImage],
    templates: Path | None = None,
    *,
    beaten_photos: Sequence[PhotoImage] = (),
) -> str:
    """The HTML of a query's page.

    Args:
        query: the facts.
        drawing: the query's image; None for a text alone.
        photos: one for each result; None if the file can't be read, which the page says.
        templates: a folder of the user's own templates.
        beaten_photos: one for each contrast: the photo that the first result beat.
    """
    shared = {
        "query": query,
        "reading": reading_bars(query.reading),
        "largest_error": _largest_error(query),
    }
    if drawing is None:
        text_cards = [_text_card(result, photo) for result, photo in zip(query.results, photos, strict=True)]
        return render_template("text_explanation.html.j2", {**shared, "cards": text_cards}, templates)
    cards = [
        _result_card(result, drawing, photo) for result, photo in zip(query.results, photos, strict=True)
    ]
    lost = [
        _contrast_card(one, drawing, photo) for one, photo in zip(query.contrasts, beaten_photos, strict=True)
    ]
    methods = dict.fromkeys(maps.method for result in query.results for maps in result.explanation.maps)
    facts: dict[str, Any] = {
        **shared,
        "drawing": to_page_image(drawing, side=FIGURE_SIDE),
        "cards": cards,
        "lost": lost,
        "winner": _photo_thumbnail(photos[0]) if photos else None,
        "methods": {name: (METHOD_NAMES[name], METHOD_MEANINGS[name]) for name in methods},
        "on_drawing": any(maps.sketch for result in query.results for maps in result.explanation.maps),
        "agreeing": _count_same_class(query),
    }
    return render_template("explanation.html.j2", facts, templates)


def _largest_error(query: ExplainedQuery) -> str | None:
    known = [result.explanation for result in query.results]
    errors = [abs(one.regions.delta) for one in known if one.regions is not None]
    errors += [abs(one.answer.map.delta) for one in known if one.answer and one.answer.map.delta is not None]
    return f"{max(errors):.8f}" if errors else None


def _count_same_class(query: ExplainedQuery) -> int | None:
    known = [result.same_class for result in query.results if result.same_class is not None]
    return sum(known) if known else None


def _photo_thumbnail(photo: PhotoImage) -> Any:
    return None if photo is None else to_page_image(photo, side=CARD_THUMB_SIDE)


def _result_card(result: ExplainedResult, drawing: Image.Image, photo: PhotoImage) -> dict[str, Any]:
    explanation = result.explanation
    shown = photo or Image.new("RGB", drawing.size, "white")
    ours = [(maps.method, maps.sketch) for maps in explanation.maps]
    theirs = [(maps.method, maps.photo) for maps in explanation.maps]
    return {
        "result": result,
        "missing": photo is None,
        "sketch": picture_frame(drawing, ours, "The drawing"),
        "photo": picture_frame(shown, theirs, f"Result {result.rank}"),
        "links": region_links(explanation, drawing.size, shown.size),
        "tests": [_faithfulness_row(check) for check in explanation.checks],
        "words": word_bars(explanation.words),
        "answer": answer_figures(explanation.answer, shown, f"Result {result.rank}"),
        "concepts": _concept_graph(explanation.concepts),
        "errors": _integration_errors(explanation),
    }


def _text_card(result: ExplainedResult, photo: PhotoImage) -> dict[str, Any]:
    explanation, what = result.explanation, f"Result {result.rank}"
    shown = photo or Image.new("RGB", (FIGURE_SIDE, FIGURE_SIDE), "white")
    return {
        "result": result,
        "missing": photo is None,
        "photo": picture_frame(shown, (), what),
        "words": word_bars(explanation.words),
        "answer": answer_figures(explanation.answer, shown, what),
    }


def _integration_errors(explanation: Explanation) -> list[tuple[str, float]]:
    errors = [
        (side, error)
        for maps in explanation.maps
        for side, error in (("drawing", maps.sketch_error), ("photo", maps.photo_error))
    ]
    return [(side, error) for side, error in errors if error is not None]


def _faithfulness_row(check: FaithfulnessCheck) -> dict[str, Any]:
    return {
        "check": check,
        "name": METHOD_NAMES[check.method],
        "chart": two_curves(check.deletion, check.insertion),
    }


def _concept_graph(concepts: PairConcepts | None) -> dict[str, Any] | None:
    if concepts is None:
        return None
    steps = concepts.path
    nodes = [concepts.start, *(step.node for step in steps)]
    relations = [(step.relation, step.forward) for step in steps]
    description = concepts.words or " to ".join(nodes)
    return {"facts": concepts, "graph": path_graph(nodes, relations, description) if steps else None}


def _contrast_card(contrast: PhotoContrast, drawing: Image.Image, photo: PhotoImage) -> dict[str, Any]:
    return {
        "contrast": contrast,
        "drawing": contrast_frame(drawing, contrast),
        "photo": _photo_thumbnail(photo),
    }
